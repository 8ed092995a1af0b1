-- A number that is paused because its session is lost: since when. Only a session that is there again ends this pause by
-- itself, and every other hold takes its place.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE sender_numbers ADD COLUMN session_lost_at timestamptz;
