-- A completion of a phone whose clock is too far ahead is stored under its arrival; the archive keeps that it was, and how far.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE completions ADD COLUMN clock_ahead_ms bigint NOT NULL DEFAULT 0;
