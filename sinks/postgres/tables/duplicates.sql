-- insert_duplicate --
-- The deliveries' sink may have found the same duplicate by the ledger's key: one row is enough.
INSERT INTO duplicates (
    day, completion_id, campaign_id, tenant_id, contact_id, first_completion_id, accepted_at
)
VALUES (
    DATE '1970-01-01' + %s::integer, %s::uuid, %s, %s, %s, %s::uuid, to_timestamp(%s / 1000.0)
)
ON CONFLICT DO NOTHING;
