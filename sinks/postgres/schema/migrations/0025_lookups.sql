-- How often an ambiguous attempt was looked up at its provider, and when it is due for the next time.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE delivery_attempts
    ADD COLUMN lookups smallint NOT NULL DEFAULT 0,
    ADD COLUMN lookup_at timestamptz;
