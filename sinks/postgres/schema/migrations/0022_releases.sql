-- When an operator last released a number or resumed a campaign: a report from before that does not hold it again.
-- A row for each of them; one older than the provider repeats its reports goes with the next release.
CREATE TABLE sending_releases (
    scope       text PRIMARY KEY,
    released_at timestamptz NOT NULL
);

-- Whether the scope was released after a report of that time. A provider's times are whole seconds: one of the same
-- second counts.
CREATE FUNCTION is_released_since(scope text, reported_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM sending_releases AS r
    WHERE r.scope = is_released_since.scope
      AND is_released_since.reported_at < date_trunc('second', r.released_at)
);

SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

-- Of a call that a status took back while newer events than the copy of the tables were read: its message.
ALTER TABLE recovered_attempts ADD COLUMN taken_back_message_id text;
