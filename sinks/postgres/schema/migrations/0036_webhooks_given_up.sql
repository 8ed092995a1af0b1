-- Messages of an endpoint that were given up because too many of its tenant waited: its tenant and operators see the number.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE webhook_endpoints ADD COLUMN given_up bigint NOT NULL DEFAULT 0, ADD COLUMN given_up_at timestamptz;
