-- Questions that earlier versions of a quiz had: pages that are still open answer them.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE quizzes ADD COLUMN former_questions jsonb NOT NULL DEFAULT '[]';
