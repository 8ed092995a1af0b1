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
-- that a replay does not put it off. Each with its route (`sinks/delivery/routing`): nothing else has to touch it before its claim.
WITH batch AS MATERIALIZED (
    SELECT DISTINCT ON (campaign_month, campaign_id, contact_id) *
    FROM deliveries_batch
    ORDER BY campaign_month, campaign_id, contact_id, ordinal
), numbers AS MATERIALIZED (
    SELECT t.tenant_id AS for_tenant, n.*
    FROM (SELECT DISTINCT tenant_id FROM batch) AS t
    JOIN routable_numbers(%(patience_s)s) AS n ON n.tenant_id = number_pool(t.tenant_id)
), campaign AS MATERIALIZED (
    SELECT v.campaign_id, v.version, v.definition -> 'message' ->> 'kind' AS kind,
           coalesce(v.definition ->> 'channel', 'whatsapp') AS channel
    FROM (SELECT DISTINCT campaign_id, campaign_version FROM batch) AS b
    JOIN campaign_versions AS v ON v.campaign_id = b.campaign_id AND v.version = b.campaign_version
)
INSERT INTO deliveries (
    campaign_month, campaign_id, contact_id, delivery_id, tenant_id, campaign_version,
    completion_id, completion_day, variables, due_at, priority, channel, route
)
SELECT
    DATE '1970-01-01' + b.campaign_month, b.campaign_id, b.contact_id, b.delivery_id::uuid, b.tenant_id,
    b.campaign_version, b.completion_id::uuid, DATE '1970-01-01' + b.completion_day, b.variables::jsonb,
    to_timestamp(b.accepted_at / 1000.0) + b.delay_s * interval '1 second', b.priority, coalesce(v.channel, 'whatsapp'), r.number_id
FROM batch AS b
LEFT JOIN campaign AS v ON v.campaign_id = b.campaign_id AND v.version = b.campaign_version
LEFT JOIN contacts AS c ON c.tenant_id = b.tenant_id AND c.contact_id = b.contact_id
LEFT JOIN LATERAL (
    SELECT n.number_id
    FROM numbers AS n
    WHERE n.for_tenant = b.tenant_id AND n.channel = coalesce(v.channel, 'whatsapp')
    ORDER BY route_order(v.kind, b.contact_id, c.known_since, n.number_id, n.weight, n.kinds, n.usable, n.open_since),
             n.number_id
    LIMIT 1
) AS r ON true
ORDER BY b.campaign_month, b.campaign_id, b.contact_id
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
