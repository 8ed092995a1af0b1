-- which --
-- What every query here chooses by; a filter that is not given chooses all.
WHERE (%(id)s::uuid IS NULL OR dead_letter_id = %(id)s)
  AND (%(reason)s::text IS NULL OR strpos(lower(reason), lower(%(reason)s)) > 0)
  AND (%(stage)s::text IS NULL OR stage = %(stage)s)
  AND (%(topic)s::text IS NULL OR source_topic = %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR failed_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR failed_at < %(until)s)
  AND CASE %(state)s::text
      WHEN 'open' THEN redriven_at IS NULL AND quarantined_at IS NULL
      WHEN 'redriven' THEN redriven_at IS NOT NULL
      WHEN 'quarantined' THEN redriven_at IS NULL AND quarantined_at IS NOT NULL
      WHEN 'unsettled' THEN redriven_at IS NULL
      ELSE true
  END

-- letters --
SELECT dead_letter_id::text, source_topic, source_partition, source_offset, stage, reason, attempts,
       completion_id::text, failed_at, redriven_from::text, redriven_at, quarantined_at, key, value, payload_erased_at
FROM dead_letters

-- newest_first --
ORDER BY failed_at DESC, dead_letter_id LIMIT %(limit)s

-- histogram --
SELECT stage, reason, source_topic, count(*) FROM dead_letters

-- by_frequency --
GROUP BY stage, reason, source_topic ORDER BY count(*) DESC, stage, reason, source_topic

-- next_step --
-- By key, not by what is left: letters that cannot be redriven stay, and must not be met again.
AND failed_at <= %(began)s
  AND (%(after_at)s::timestamptz IS NULL OR (failed_at, dead_letter_id) > (%(after_at)s, %(after_id)s::uuid))
ORDER BY failed_at, dead_letter_id LIMIT %(step)s

-- count --
SELECT count(*), clock_timestamp() FROM dead_letters

-- open_summary --
-- What an operator has yet to decide on: neither redriven nor quarantined, and the record still there.
SELECT count(*), max(failed_at), (array_agg(stage ORDER BY failed_at DESC, dead_letter_id))[1],
       (array_agg(reason ORDER BY failed_at DESC, dead_letter_id))[1]
FROM dead_letters
WHERE redriven_at IS NULL AND quarantined_at IS NULL AND payload_erased_at IS NULL

-- lineage --
-- A record that was given up, redriven and given up again, back to the first time.
WITH RECURSIVE before AS (
    SELECT dead_letter_id, redriven_from, stage, reason, failed_at, 1 AS depth
    FROM dead_letters WHERE dead_letter_id = %(id)s::uuid
    UNION ALL
    SELECT d.dead_letter_id, d.redriven_from, d.stage, d.reason, d.failed_at, b.depth + 1
    FROM before AS b JOIN dead_letters AS d ON d.dead_letter_id = b.redriven_from
    WHERE b.depth < 100
)
SELECT dead_letter_id::text, stage, reason, failed_at FROM before ORDER BY depth OFFSET 1

-- try_redrive_lock --
-- Two redrives at once would send records twice: harmless, and confusing.
SELECT pg_try_advisory_lock(7165003)

-- mark_redriven --
-- Every letter about this record: all readers of its topic meet it again, whoever gave it up.
UPDATE dead_letters AS d
SET redriven_at = clock_timestamp()
FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(offsets)s::bigint[]) AS p (topic, partition, place)
WHERE d.source_topic = p.topic AND d.source_partition = p.partition AND d.source_offset = p.place
  AND d.redriven_at IS NULL

-- mark_quarantined --
UPDATE dead_letters SET quarantined_at = clock_timestamp()
WHERE dead_letter_id = ANY(%(ids)s::uuid[]) AND quarantined_at IS NULL
