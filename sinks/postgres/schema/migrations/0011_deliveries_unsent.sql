-- `deliveries list` of states that few deliveries have must not read the ledger. The state is the last column: it is
-- compared within the index, and a page of any of these states comes in the order of the ledger's key.
-- ON ONLY: this takes a moment; the index of each partition is then built while the table is in use, by
-- `sinks.postgres.schema.online_indexes`.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

CREATE INDEX deliveries_unsent ON ONLY deliveries (campaign_month, campaign_id, contact_id, state)
    WHERE state IN ('failed', 'suppressed', 'cancelled', 'ambiguous', 'dead');
