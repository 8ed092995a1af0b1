-- What the person decided about messages, with the id of the text that was shown: NULL where the client does not say.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE completions ADD COLUMN consent_granted boolean, ADD COLUMN consent_text text;
