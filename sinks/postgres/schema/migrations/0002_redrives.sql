-- What became of a dead letter after somebody looked at it.

ALTER TABLE dead_letters
    ADD COLUMN redriven_from  uuid,         -- the dead letter that its record was redriven from
    ADD COLUMN redriven_at    timestamptz,  -- its record is in the source topic once more
    ADD COLUMN quarantined_at timestamptz;  -- redriven too often: left alone until somebody insists
CREATE INDEX dead_letters_by_place ON dead_letters (source_topic, source_partition, source_offset);
