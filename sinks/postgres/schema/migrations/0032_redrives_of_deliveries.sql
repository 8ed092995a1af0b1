-- How often a delivery was redriven: one that failed after each of several redrives is quarantined.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE deliveries ADD COLUMN redrives smallint NOT NULL DEFAULT 0;
