-- read_positions --
-- Never from Kafka's group offsets: those are copies for the lag views, and may be behind or rewound.
SELECT partition, next_offset FROM sink_offsets WHERE sink = %s AND topic = %s;

-- begin_position --
-- Two processes may meet a new partition at once: the first one's start counts.
INSERT INTO sink_offsets (sink, topic, partition, next_offset)
VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING;

-- move_position --
-- No row changes when the position was moved by another process: a zombie's batch ends here.
UPDATE sink_offsets
SET next_offset = %s, updated_at = clock_timestamp()
WHERE sink = %s AND topic = %s AND partition = %s AND next_offset = %s;
