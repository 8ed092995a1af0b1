-- insert_statuses --
-- One row a (message, status), however often the provider repeats itself; the first time counts. In the order of
-- the key, so that it meets the sweep of waiting statuses in one order. A row under the provider's former name
-- counts; it is looked up by its key, since the planner would rather read the whole table.
INSERT INTO provider_statuses (provider, provider_message_id, status, attempt_id, at, errors, number_id)
SELECT told.provider, told.message_id, told.status, told.attempt_id::uuid, to_timestamp(told.at / 1000.0),
       told.errors::jsonb, told.of_number
FROM unnest(
    %(providers)s::text[], %(message_ids)s::text[], %(statuses)s::text[], %(attempt_ids)s::text[], %(at)s::bigint[],
    %(errors)s::text[], %(of_numbers)s::text[]
) WITH ORDINALITY AS told (provider, message_id, status, attempt_id, at, errors, of_number, ordinal)
LEFT JOIN LATERAL (
    SELECT true AS is_there
    FROM provider_statuses AS f
    WHERE f.provider = former_provider_name(told.provider)
      AND f.provider_message_id = told.message_id AND f.status = told.status
    OFFSET 0
) AS former ON true
WHERE former.is_there IS NULL
ORDER BY told.provider, told.message_id, told.status, told.ordinal
ON CONFLICT DO NOTHING;

-- replace_foreign_statuses --
-- What another number's webhook has reported about this message gives way to the number that sent it.
UPDATE provider_statuses AS s
SET attempt_id = told.attempt_id::uuid, at = to_timestamp(told.at / 1000.0), errors = told.errors::jsonb,
    number_id = told.of_number
FROM unnest(
    %(providers)s::text[], %(message_ids)s::text[], %(statuses)s::text[], %(attempt_ids)s::text[], %(at)s::bigint[],
    %(errors)s::text[], %(of_numbers)s::text[]
) AS told (provider, message_id, status, attempt_id, at, errors, of_number)
WHERE s.provider = told.provider AND s.provider_message_id = told.message_id AND s.status = told.status
  AND NOT s.merged AND s.number_id NOT IN ('', told.of_number)
  AND (EXISTS (SELECT FROM delivery_attempts AS a
               WHERE a.attempt_id = told.attempt_id::uuid AND a.number_id = told.of_number)
       OR EXISTS (SELECT
                  FROM deliveries AS d
                  JOIN delivery_attempts AS a ON a.delivery_id = d.delivery_id
                  WHERE d.provider_message_id = told.message_id AND a.number_id = told.of_number));

-- find_deliveries_of_messages --
-- Of the statuses that are not merged yet, those whose delivery is known: by the attempt that we gave the provider,
-- or by the message id that the provider gave us. Attempts of another provider do not count, even with equal ids; where
-- the webhook belongs to one number, attempts of another number do not count either. A message belongs to the attempt
-- that has its id, or to the last attempt while that has none. OFFSET 0 makes each of them a few probes of indexes:
-- joined freely, the planner takes the batch for large and reads the whole ledger.
WITH waiting AS MATERIALIZED (
    SELECT provider, number_id, provider_message_id, status, attempt_id, errors,
           (extract(epoch FROM at) * 1000)::bigint AS at_ms
    FROM provider_statuses
    WHERE NOT merged AND provider_message_id = ANY(%(message_ids)s)
)
SELECT
    s.provider, s.number_id AS of_number, s.provider_message_id AS message_id, s.status, s.attempt_id::text, s.errors, s.at_ms,
    d.campaign_month, d.campaign_id, d.contact_id
FROM waiting AS s
CROSS JOIN LATERAL (
    SELECT d.campaign_month, d.campaign_id, d.contact_id
    FROM delivery_attempts AS a
    JOIN deliveries AS d ON d.delivery_id = a.delivery_id
    WHERE a.attempt_id = s.attempt_id AND provider_name(a.provider) = provider_name(s.provider)
      AND s.number_id IN ('', a.number_id)
    OFFSET 0
) AS d
UNION
SELECT
    s.provider, s.number_id AS of_number, s.provider_message_id AS message_id, s.status, s.attempt_id::text, s.errors, s.at_ms,
    d.campaign_month, d.campaign_id, d.contact_id
FROM waiting AS s
CROSS JOIN LATERAL (
    SELECT d.campaign_month, d.campaign_id, d.contact_id
    FROM deliveries AS d
    WHERE d.provider_message_id = s.provider_message_id
      AND (
          SELECT true  -- not EXISTS: as a join it reads all attempts for each message
          FROM delivery_attempts AS a
          WHERE a.delivery_id = d.delivery_id
            AND provider_name(a.provider) = provider_name(s.provider)
            AND s.number_id IN ('', a.number_id)
            AND (a.provider_message_id = d.provider_message_id
                 OR (a.provider_message_id IS NULL AND a.attempt_id = d.attempt_id))
          LIMIT 1
      )
    OFFSET 0
) AS d;

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
            AND EXISTS (
                SELECT
                FROM delivery_attempts AS a
                WHERE a.delivery_id = d.delivery_id
                  AND provider_name(a.provider) = provider_name(s.provider)
                  AND s.number_id IN ('', a.number_id)
                  AND (a.provider_message_id = d.provider_message_id
                       OR (a.provider_message_id IS NULL AND a.attempt_id = d.attempt_id))
            )
            AND (s.status <> 'failed' OR d.state IN ('ambiguous', 'sent', 'failed', 'delivered', 'read'))
      )
      OR EXISTS (
          SELECT
          FROM delivery_attempts AS a
          JOIN deliveries AS d ON d.delivery_id = a.delivery_id
          WHERE a.attempt_id = s.attempt_id
            AND provider_name(a.provider) = provider_name(s.provider)
            AND s.number_id IN ('', a.number_id)
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
SELECT count(*) AS waiting FROM provider_statuses WHERE NOT merged AND at > now() - %s;

-- lock_deliveries --
-- In the order of the key, as the sender does.
SELECT
    d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, d.state, d.attempt_id::text, d.provider_message_id,
    d.attempts
FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[])
    AS wanted (campaign_month, campaign_id, contact_id)
JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
ORDER BY d.campaign_month, d.campaign_id, d.contact_id
FOR UPDATE OF d;

-- list_failed_messages --
-- Of these messages, the ones that the provider has reported as failed. Of the last attempt only what is merged: what
-- is not is judged with it. By their key.
SELECT s.provider_message_id
FROM unnest(%(providers)s::text[], %(of_numbers)s::text[], %(message_ids)s::text[], %(of_earlier)s::boolean[])
    AS asked (provider, of_number, message_id, of_earlier)
JOIN provider_statuses AS s
  ON s.provider = asked.provider AND s.provider_message_id = asked.message_id AND s.status = 'failed'
WHERE (s.merged OR asked.of_earlier) AND s.number_id IN ('', asked.of_number);

-- settle_deliveries --
-- The lease ends with it: a sender that still holds the row finds it gone. `due_at_ms`: of one that waits again.
UPDATE deliveries AS d
SET state = settled.state,
    reason = settled.reason,
    provider_message_id = coalesce(d.provider_message_id, settled.message_id),
    due_at = coalesce(to_timestamp(settled.due_at_ms / 1000.0), d.due_at),
    attempts = CASE WHEN settled.channel IS NULL THEN greatest(0, d.attempts - settled.uncounted) ELSE 0 END,
    with_fallbacks = settled.channel IS NULL AND (d.with_fallbacks OR settled.with_fallbacks),
    channel = coalesce(settled.channel, d.channel),
    refused_by = CASE WHEN settled.channel <> d.channel THEN '{}'
                      ELSE array_remove(d.refused_by || settled.refused, NULL) END,
    route = CASE WHEN settled.state <> 'waiting' THEN d.route END,
    lease_token = NULL,
    leased_until = NULL,
    sequence = d.sequence + 1,
    updated_at = clock_timestamp()
FROM unnest(
    %(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[], %(states)s::text[], %(reasons)s::text[],
    %(message_ids)s::text[], %(due_at_ms)s::bigint[], %(uncounted)s::integer[], %(with_fallbacks)s::boolean[],
    %(channels)s::text[], %(refused)s::text[]
) AS settled (campaign_month, campaign_id, contact_id, state, reason, message_id, due_at_ms, uncounted, with_fallbacks,
              channel, refused)
WHERE d.campaign_month = settled.campaign_month
    AND d.campaign_id = settled.campaign_id
    AND d.contact_id = settled.contact_id
RETURNING
    d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
    d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
    d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- settle_attempts --
-- A call whose recorded end was another, or doubtful: the webhook proves the message. There is hardly ever one: looked
-- up by its key, since the planner would rather read every attempt for an outcome that is rare. A call without an end
-- is left to its own result.
UPDATE delivery_attempts AS a
SET outcome = 'sent', detail = 'known from a status webhook', provider_message_id = proven.message_id
FROM (
    SELECT unclear.attempt_id, proof.message_id
    FROM unnest(%(attempt_ids)s::uuid[], %(message_ids)s::text[]) AS proof (attempt_id, message_id)
    CROSS JOIN LATERAL (
        SELECT u.attempt_id
        FROM delivery_attempts AS u
        WHERE u.attempt_id = proof.attempt_id AND u.outcome <> 'sent'
        OFFSET 0
    ) AS unclear
) AS proven
WHERE a.attempt_id = proven.attempt_id AND a.outcome <> 'sent';

-- take_back_attempts --
-- The provider accepted the message and then reported that it was not delivered: not sent, and the delivery waits again.
UPDATE delivery_attempts AS a
SET outcome = 'taken_back', provider_code = told.code, action = told.action, detail = told.detail,
    provider_message_id = told.message_id
FROM unnest(%(attempt_ids)s::uuid[], %(message_ids)s::text[], %(codes)s::text[], %(actions)s::text[], %(details)s::text[])
    AS told (attempt_id, message_id, code, action, detail)
WHERE a.attempt_id = told.attempt_id;

-- mark_merged --
UPDATE provider_statuses AS s
SET merged = true
FROM unnest(%(providers)s::text[], %(message_ids)s::text[], %(statuses)s::text[])
    AS done (provider, message_id, status)
WHERE s.provider = done.provider AND s.provider_message_id = done.message_id AND s.status = done.status;
