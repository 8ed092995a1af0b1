-- insert_dead_letter --
-- Its id is a function of the record and the stage: given up twice, it is one dead letter.
INSERT INTO dead_letters (
    dead_letter_id, source_topic, source_partition, source_offset, stage, reason, attempts,
    completion_id, campaign_id, failed_at, key, value, redriven_from
)
VALUES (%s::uuid, %s, %s, %s, %s, %s, %s, %s::uuid, %s, to_timestamp(%s / 1000.0), %s, %s, %s::uuid)
ON CONFLICT DO NOTHING;
