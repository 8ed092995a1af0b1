-- insert_status --
-- One row a (message, status), however often the provider repeats itself; the first time counts.
INSERT INTO provider_statuses (provider, provider_message_id, status, attempt_id, at, errors)
VALUES (%s, %s, %s, %s::uuid, to_timestamp(%s / 1000.0), %s::jsonb)
ON CONFLICT DO NOTHING;

-- find_deliveries_of_messages --
-- Of the statuses that are not merged yet, those whose delivery is known: by the attempt that we gave the provider,
-- or by the message id that the provider gave us.
WITH waiting AS MATERIALIZED (
    SELECT provider, provider_message_id, status, attempt_id, errors
    FROM provider_statuses
    WHERE NOT merged AND provider_message_id = ANY(%(message_ids)s)
)
SELECT
    s.provider, s.provider_message_id, s.status, s.attempt_id::text, s.errors,
    d.campaign_month, d.campaign_id, d.contact_id
FROM waiting AS s
JOIN delivery_attempts AS a ON a.attempt_id = s.attempt_id
JOIN deliveries AS d ON d.delivery_id = a.delivery_id
UNION
SELECT
    s.provider, s.provider_message_id, s.status, s.attempt_id::text, s.errors,
    d.campaign_month, d.campaign_id, d.contact_id
FROM waiting AS s
JOIN deliveries AS d ON d.provider_message_id = s.provider_message_id;

-- list_waiting_messages --
-- Statuses that came before their delivery's own result, as far as they can be judged by now: each that is listed
-- here is done with after its merge, so that those of other senders on the same account never stand in the way.
SELECT DISTINCT s.provider_message_id
FROM provider_statuses AS s
WHERE NOT s.merged
  AND s.at > now() - %(within)s
  AND (
      EXISTS (
          SELECT
          FROM deliveries AS d
          WHERE d.provider_message_id = s.provider_message_id
            AND (s.status <> 'failed' OR d.state IN ('ambiguous', 'sent', 'failed', 'delivered', 'read'))
      )
      OR EXISTS (
          SELECT
          FROM delivery_attempts AS a
          JOIN deliveries AS d ON d.delivery_id = a.delivery_id
          WHERE a.attempt_id = s.attempt_id
            AND (
                s.status <> 'failed'
                OR d.state IN ('ambiguous', 'sent', 'failed', 'delivered', 'read')
                OR d.attempt_id <> s.attempt_id
            )
      )
  )
LIMIT %(limit)s;

-- count_waiting --
-- Older than the provider's longest retry they stay as they are: of somebody else's message, or of a ledger that
-- is gone.
SELECT count(*) FROM provider_statuses WHERE NOT merged AND at > now() - %s;

-- lock_deliveries --
-- In the order of the key, as the sender does.
SELECT
    d.campaign_month, d.campaign_id, d.contact_id, d.state, d.attempt_id::text, d.provider_message_id
FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[])
    AS wanted (campaign_month, campaign_id, contact_id)
JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
ORDER BY d.campaign_month, d.campaign_id, d.contact_id
FOR UPDATE OF d;

-- settle_delivery --
-- The lease ends with it: a sender that still holds the row finds it gone.
UPDATE deliveries
SET state = %(state)s,
    reason = %(reason)s,
    provider_message_id = coalesce(provider_message_id, %(message_id)s),
    lease_token = NULL,
    leased_until = NULL,
    sequence = sequence + 1,
    updated_at = clock_timestamp()
WHERE campaign_month = %(month)s AND campaign_id = %(campaign)s AND contact_id = %(contact)s
RETURNING
    delivery_id::text, tenant_id, campaign_id, contact_id, completion_id::text, sequence, state,
    (extract(epoch FROM updated_at) * 1000)::bigint, reason, provider_message_id, attempts, attempt_id::text,
    number_id;

-- settle_attempt --
-- A call of which nobody knew whether it sent anything: now somebody does.
UPDATE delivery_attempts
SET outcome = 'sent', detail = 'known from a status webhook', provider_message_id = %(message_id)s
WHERE attempt_id = %(attempt_id)s::uuid AND outcome = 'ambiguous';

-- mark_merged --
UPDATE provider_statuses
SET merged = true
WHERE provider = %s AND provider_message_id = %s AND status = %s;

-- suppress --
INSERT INTO suppressions (tenant_id, contact_id, reason)
VALUES (%s, %s, %s)
ON CONFLICT DO NOTHING;

-- recipient_of_message --
SELECT tenant_id, contact_id FROM deliveries WHERE provider_message_id = %s;

-- tenants_of_number --
-- A number that serves every tenant is answered for all of them: the person sees one number.
SELECT t.tenant_id
FROM tenants AS t
LEFT JOIN sender_numbers AS n ON n.number_id = %s
WHERE n.tenant_id IS NULL OR n.tenant_id IN ('*', t.tenant_id);

-- known_contacts --
SELECT c.tenant_id, c.contact_id
FROM unnest(%s::text[], %s::text[]) AS wanted (tenant_id, contact_id)
JOIN contacts AS c USING (tenant_id, contact_id);
