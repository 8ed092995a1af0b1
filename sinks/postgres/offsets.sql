-- read_positions --
-- Never from Kafka's group offsets: those are copies for the lag views, and may be behind or rewound.
SELECT partition, next_offset FROM sink_offsets WHERE sink = %s AND topic = %s;

-- begin_position --
-- Two processes may meet a new partition at once: the first one's start counts.
INSERT INTO sink_offsets (sink, topic, partition, next_offset)
VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING;

-- move_positions --
-- Returns those that moved. A row does not when another process has moved it: a zombie's batch ends here.
-- Locked in one order, so that of two processes with the same partitions one waits and none is a deadlock's victim.
WITH steps AS (
    SELECT * FROM unnest(%(partitions)s::int[], %(before)s::bigint[], %(after)s::bigint[])
        AS step (partition, before, after)
), held AS (
    SELECT partition FROM sink_offsets
    WHERE sink = %(sink)s AND topic = %(topic)s AND partition = ANY (%(partitions)s)
    ORDER BY partition
    FOR UPDATE
)
UPDATE sink_offsets AS position
SET next_offset = steps.after, updated_at = clock_timestamp()
FROM steps JOIN held USING (partition)
WHERE position.sink = %(sink)s AND position.topic = %(topic)s AND position.partition = steps.partition
    AND position.next_offset = steps.before
RETURNING position.partition;
