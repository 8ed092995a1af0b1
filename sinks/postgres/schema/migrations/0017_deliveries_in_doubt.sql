-- Every sender counts the deliveries in doubt every 15 s. `deliveries_unsent` has them among all that failed, were
-- suppressed or cancelled, so the count would read all of these; this index has the ambiguous ones alone.
-- ON ONLY: built for each partition while the table is in use, by `sinks.postgres.schema.online_indexes`.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

CREATE INDEX deliveries_in_doubt ON ONLY deliveries (state) WHERE state = 'ambiguous';
