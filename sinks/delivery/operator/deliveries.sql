-- list_deliveries --
-- In the order of the ledger's key, the oldest campaign month first, so that pages are read by key in every state.
SELECT d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text, d.state,
       d.reason, d.attempts, d.channel, d.route, d.number_id, d.provider_message_id, d.created_at, d.updated_at,
       d.redrives
FROM deliveries AS d
WHERE (%(states)s::text[] IS NULL OR d.state = ANY(%(states)s))
  AND (%(since)s::timestamptz IS NULL OR d.updated_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR d.updated_at < %(until)s)
  AND (%(why)s::text IS NULL OR strpos(lower(d.reason), lower(%(why)s)) > 0)
  AND (%(redrives_min)s::integer IS NULL OR d.redrives >= %(redrives_min)s)
  AND (%(campaign)s::text IS NULL
       OR (d.campaign_id = %(campaign)s
           AND d.campaign_month = (SELECT c.month FROM campaigns AS c WHERE c.campaign_id = %(campaign)s)))
  AND (%(month)s::date IS NULL
       OR (d.campaign_month, d.campaign_id, d.contact_id)
          > (%(month)s::date, %(after_campaign)s::text, %(after_contact)s::text))
ORDER BY d.campaign_month, d.campaign_id, d.contact_id
LIMIT %(limit)s;

-- list_deliveries_of_tenant --
-- The same order, one campaign of the tenant after the other: no row of another tenant is read, and a campaign gives at
-- most a page.
SELECT d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text, d.state,
       d.reason, d.attempts, d.channel, d.route, d.number_id, d.provider_message_id, d.created_at, d.updated_at,
       d.redrives
FROM (
    SELECT c.month, c.campaign_id,
           CASE WHEN (c.month, c.campaign_id) = (%(month)s::date, %(after_campaign)s::text) THEN %(after_contact)s ELSE '' END
               AS after_contact
    FROM campaigns AS c
    WHERE c.tenant_id = %(tenant)s
      AND (%(campaign)s::text IS NULL OR c.campaign_id = %(campaign)s)
      AND (%(month)s::date IS NULL OR (c.month, c.campaign_id) >= (%(month)s::date, %(after_campaign)s::text))
    ORDER BY c.month, c.campaign_id
) AS c
CROSS JOIN LATERAL (
    SELECT d.*
    FROM deliveries AS d
    WHERE d.campaign_month = c.month
      AND d.campaign_id = c.campaign_id
      AND d.contact_id > c.after_contact
      AND (%(states)s::text[] IS NULL OR d.state = ANY(%(states)s))
      AND (%(since)s::timestamptz IS NULL OR d.updated_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR d.updated_at < %(until)s)
      AND (%(why)s::text IS NULL OR strpos(lower(d.reason), lower(%(why)s)) > 0)
      AND (%(redrives_min)s::integer IS NULL OR d.redrives >= %(redrives_min)s)
    ORDER BY d.contact_id
    LIMIT %(limit)s
) AS d
ORDER BY c.month, c.campaign_id, d.contact_id
LIMIT %(limit)s;

-- get_delivery --
SELECT d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text, d.state,
       d.reason, d.attempts, d.channel, d.route, d.number_id, d.provider_message_id, d.created_at, d.updated_at,
       d.redrives
FROM deliveries AS d
WHERE d.delivery_id = %(delivery_id)s;

-- attempts_of --
SELECT attempt_id::text, attempt, number_id, provider_name(provider) AS provider, channel, called_at, finished_at, outcome,
       coalesce(provider_code, code::text) AS code, action, detail, provider_message_id
FROM delivery_attempts
WHERE delivery_id = %(delivery_id)s
ORDER BY called_at;

-- statuses_of --
-- Of a message that the ledger knows, or waiting for its delivery: both by an index.
SELECT s.provider, s.provider_message_id, s.status, s.at, s.errors, s.merged
FROM provider_statuses AS s
WHERE (s.provider = ANY(%(providers)s::text[]) AND s.provider_message_id = ANY(%(messages)s::text[]))
   OR (NOT s.merged AND s.attempt_id = ANY(%(attempts)s::uuid[]))
ORDER BY s.at;

-- phone_of --
SELECT phone FROM contacts WHERE tenant_id = %(tenant)s AND contact_id = %(contact)s;

-- resolve_delivery --
-- The attempt keeps who knew it: an operator, not the provider. A later proof by a webhook replaces it.
WITH held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.attempt_id
    FROM deliveries AS d
    WHERE d.delivery_id = %(delivery_id)s AND d.state = 'ambiguous'
    FOR UPDATE OF d
), resolved AS (
    UPDATE delivery_attempts AS a
    SET outcome = %(outcome)s,
        detail = %(reason)s,
        finished_at = coalesce(a.finished_at, clock_timestamp()),
        provider_message_id = coalesce(a.provider_message_id, %(message_id)s)
    FROM held AS h
    WHERE a.attempt_id = h.attempt_id
)
UPDATE deliveries AS d
SET state = %(state)s,
    reason = %(reason)s,
    provider_message_id = coalesce(d.provider_message_id, %(message_id)s),
    lease_token = NULL,
    leased_until = NULL,
    sequence = d.sequence + 1,
    updated_at = clock_timestamp()
FROM held AS h
WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- judge_redrives --
-- What stands against another call, for each delivery; '' where it is certain that nothing was sent. The rows are
-- locked in the order of the key until the transaction ends. An attempt that is not listed here is not certain.
WITH wanted AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id, d.tenant_id, d.state, d.attempts,
           d.provider_message_id, d.redrives
    FROM deliveries AS d
    WHERE (%(delivery_id)s::uuid IS NULL OR d.delivery_id = %(delivery_id)s)
      AND (%(states)s::text[] IS NULL OR d.state = ANY(%(states)s))
      AND (%(tenant)s::text IS NULL OR d.tenant_id = %(tenant)s)
      AND (%(since)s::timestamptz IS NULL OR d.updated_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR d.updated_at < %(until)s)
      AND (%(why)s::text IS NULL OR strpos(lower(d.reason), lower(%(why)s)) > 0)
      AND (%(campaign)s::text IS NULL
           OR (d.campaign_id = %(campaign)s
               AND d.campaign_month = (SELECT c.month FROM campaigns AS c WHERE c.campaign_id = %(campaign)s)))
      AND (%(month)s::date IS NULL
           OR (d.campaign_month, d.campaign_id, d.contact_id)
              > (%(month)s::date, %(after_campaign)s::text, %(after_contact)s::text))
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    LIMIT %(limit)s
    FOR UPDATE OF d
)
SELECT w.campaign_month, w.campaign_id, w.contact_id, w.delivery_id::text,
       CASE
           WHEN w.state NOT IN ('dead', 'failed') THEN 'it is ' || w.state
           WHEN w.provider_message_id IS NOT NULL THEN 'the provider accepted it'
           WHEN EXISTS (SELECT FROM delivery_attempts AS a
                        WHERE a.delivery_id = w.delivery_id
                          AND a.outcome IS DISTINCT FROM 'taken_back'  -- its message is certain to have failed
                          AND (a.outcome IS NULL OR a.provider_message_id IS NOT NULL
                               OR a.outcome NOT IN ('rejected', 'not_sent', 'resolved_not_sent')))
               THEN 'one of its calls may have been sent'
           WHEN (SELECT count(*) FROM delivery_attempts AS a WHERE a.delivery_id = w.delivery_id) < w.attempts
               THEN 'not every one of its calls is known'
           WHEN EXISTS (SELECT FROM delivery_attempts AS a
                        JOIN provider_statuses AS s ON s.attempt_id = a.attempt_id
                        WHERE a.delivery_id = w.delivery_id AND NOT s.merged
                          AND s.status IN ('sent', 'delivered', 'read'))
               THEN 'a status of the provider proves a message'
           WHEN EXISTS (SELECT FROM same_person(w.tenant_id, w.contact_id) AS p (contact_id)
                        JOIN suppressions AS s ON s.tenant_id = w.tenant_id AND s.contact_id = p.contact_id
                        WHERE NOT s.lifted)
               THEN 'the contact opted out'
           WHEN EXISTS (SELECT FROM campaigns AS c
                        WHERE c.campaign_id = w.campaign_id AND c.cancelled_at IS NOT NULL)
               THEN 'the campaign was cancelled'
           WHEN w.redrives >= %(redrives_max)s::integer
               THEN 'it is quarantined: redriven ' || w.redrives || ' times already'
           ELSE ''
       END AS obstacle
FROM wanted AS w
ORDER BY w.campaign_month, w.campaign_id, w.contact_id;

-- redrive_deliveries --
-- Only with rows that `judge_redrives` has locked and found nothing against. Attempts and channels begin anew, and
-- what contacts typed is tried again: what the provider rejected may have been its template.
UPDATE deliveries AS d
SET state = 'waiting',
    reason = %(reason)s,
    due_at = clock_timestamp(),
    attempts = 0,
    redrives = least(d.redrives + 1, 32767),
    with_fallbacks = false,
    channel = coalesce((SELECT v.definition ->> 'channel' FROM campaign_versions AS v
                        WHERE v.campaign_id = d.campaign_id AND v.version = d.campaign_version), 'whatsapp'),
    refused_by = '{}',
    route = NULL,
    lease_token = NULL,
    leased_until = NULL,
    sequence = d.sequence + 1,
    updated_at = clock_timestamp()
FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[])
    AS g (campaign_month, campaign_id, contact_id)
WHERE d.campaign_month = g.campaign_month AND d.campaign_id = g.campaign_id AND d.contact_id = g.contact_id
  AND d.state IN ('dead', 'failed')
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;
