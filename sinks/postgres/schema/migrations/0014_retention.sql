-- When the deliveries of an ended campaign began to be deleted: the ledger audit passes its matches over from then on.
-- A column without a default: no row is rewritten.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE campaigns ADD COLUMN ledger_deleted_at timestamptz;
