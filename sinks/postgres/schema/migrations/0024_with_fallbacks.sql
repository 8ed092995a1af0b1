-- Whether fallbacks replace what the contact typed: from the attempt after the one that the provider rejected for its text.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE deliveries ADD COLUMN with_fallbacks boolean NOT NULL DEFAULT false;
