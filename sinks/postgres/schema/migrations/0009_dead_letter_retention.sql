-- The raw record of a dead letter is erased after `dead_letters.payload_retention_h`; its row stays longer and accounts
-- for its completion by the ids. Columns without a default: no row is rewritten. Rows of before have no campaign; those
-- of a match that are still open account for it while their record is there.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE dead_letters
    ADD COLUMN campaign_id       text,         -- of a match, a delivery or a duplicate
    ADD COLUMN payload_erased_at timestamptz;  -- key and value were erased; null where they are as they came

-- Writers of dead letters wait while it is built, which reads the table once, without the stored records.
CREATE INDEX dead_letters_with_payload ON dead_letters (failed_at) WHERE payload_erased_at IS NULL;
