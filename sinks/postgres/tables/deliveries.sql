-- create_deliveries_batch --
CREATE TEMPORARY TABLE IF NOT EXISTS deliveries_batch (
    ordinal          integer NOT NULL,
    campaign_month   integer NOT NULL,
    campaign_id      text NOT NULL,
    contact_id       text NOT NULL,
    delivery_id      text NOT NULL,
    tenant_id        text NOT NULL,
    campaign_version integer NOT NULL,
    completion_id    text NOT NULL,
    completion_day   integer NOT NULL,
    variables        text NOT NULL,
    accepted_at      bigint NOT NULL,
    delay_s          bigint NOT NULL,
    priority         integer NOT NULL
) ON COMMIT DELETE ROWS;

-- clear_deliveries_batch --
DELETE FROM deliveries_batch;

-- copy_deliveries --
COPY deliveries_batch FROM STDIN (FORMAT binary);

-- insert_deliveries --
-- The ledger's key decides: one delivery for a campaign and a contact, the first that comes. Due in event time, so
-- that a replay does not put it off.
INSERT INTO deliveries (
    campaign_month, campaign_id, contact_id, delivery_id, tenant_id, campaign_version,
    completion_id, completion_day, variables, due_at, priority
)
SELECT
    DATE '1970-01-01' + campaign_month, campaign_id, contact_id, delivery_id::uuid, tenant_id, campaign_version,
    completion_id::uuid, DATE '1970-01-01' + completion_day, variables::jsonb,
    to_timestamp(accepted_at / 1000.0) + delay_s * interval '1 second', priority
FROM (
    SELECT DISTINCT ON (campaign_month, campaign_id, contact_id) *
    FROM deliveries_batch
    ORDER BY campaign_month, campaign_id, contact_id, ordinal
) AS batch
ORDER BY campaign_month, campaign_id, contact_id
ON CONFLICT DO NOTHING
RETURNING
    campaign_month, campaign_id, contact_id, delivery_id::text, tenant_id, completion_id::text, sequence, state,
    (extract(epoch FROM updated_at) * 1000)::bigint AS at_ms, reason, provider_message_id, attempts,
    attempt_id::text, number_id;

-- insert_second_matches --
-- Deduplication upstream is a filter that may forget; what it lets through is accounted for here. Asked only for
-- the rows of the batch that opened no delivery; OFFSET 0 makes each one a probe of the key's index.
INSERT INTO duplicates (
    day, completion_id, campaign_id, tenant_id, contact_id, first_completion_id, accepted_at
)
SELECT
    DATE '1970-01-01' + batch.completion_day, batch.completion_id::uuid, batch.campaign_id, batch.tenant_id,
    batch.contact_id, present.completion_id, to_timestamp(batch.accepted_at / 1000.0)
FROM deliveries_batch AS batch
CROSS JOIN LATERAL (
    SELECT d.completion_id
    FROM deliveries AS d
    WHERE d.campaign_month = DATE '1970-01-01' + batch.campaign_month
      AND d.campaign_id = batch.campaign_id
      AND d.contact_id = batch.contact_id
    OFFSET 0
) AS present
WHERE batch.ordinal = ANY(%s)
  AND present.completion_id <> batch.completion_id::uuid
ON CONFLICT DO NOTHING;
