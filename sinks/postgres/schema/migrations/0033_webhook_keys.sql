-- Each session number has a key of its own in the address of its webhooks: only hashes of it are stored. Numbers that
-- exist have none yet: `quizstream number webhook ID --rotate` makes it (docs/webhooks.md).
CREATE TABLE webhook_keys (
    number_id    text PRIMARY KEY,
    provider     text NOT NULL,
    version      integer NOT NULL,
    key_hash     text NOT NULL,
    former_hash  text NOT NULL DEFAULT '',
    former_until timestamptz,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

-- The number whose webhook reported the status, where that may speak of its own messages only; empty: of any number's.
ALTER TABLE provider_statuses ADD COLUMN number_id text NOT NULL DEFAULT '';
