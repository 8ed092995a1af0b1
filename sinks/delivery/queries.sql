-- list_credentials --
-- Names of environment variables: a process leases only numbers whose secret it has.
SELECT DISTINCT credential FROM sender_numbers WHERE state = 'active' AND provider = ANY (%(providers)s);

-- announce_process --
-- As long as the leases of its numbers: processes that died are counted out when their numbers are free.
WITH gone AS (
    DELETE FROM sender_processes WHERE alive_until < clock_timestamp() - interval '1 hour'
)
INSERT INTO sender_processes (owner, providers, credentials, alive_until)
VALUES (%(owner)s, %(providers)s, %(credentials)s, clock_timestamp() + make_interval(secs => %(lease_s)s))
ON CONFLICT (owner) DO UPDATE
SET providers = excluded.providers, credentials = excluded.credentials, alive_until = excluded.alive_until;

-- list_processes --
SELECT owner, providers, credentials FROM sender_processes WHERE alive_until > clock_timestamp();

-- list_candidates --
SELECT n.number_id, n.provider, n.credential,
       CASE WHEN n.leased_until > clock_timestamp() THEN n.lease_owner END AS holder
FROM sender_numbers AS n
WHERE n.state = 'active'
  AND NOT EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id);

-- lease_numbers --
-- Renews those that this owner holds and takes those that are free. The fencing token grows at each take-over, and also
-- when an owner comes back to a lease that had run out: what it began under the old one is void.
WITH free AS (
    SELECT n.number_id, n.leased_until
    FROM sender_numbers AS n
    WHERE n.state = 'active'
      AND n.number_id = ANY (%(numbers)s)
      AND NOT EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id)
      AND (n.lease_owner = %(owner)s OR n.leased_until IS NULL OR n.leased_until <= clock_timestamp())
    ORDER BY n.number_id
    FOR UPDATE OF n
)
UPDATE sender_numbers AS n
SET fencing_token = n.fencing_token
        + CASE WHEN n.lease_owner = %(owner)s AND n.leased_until > clock_timestamp() THEN 0 ELSE 1 END,
    lease_owner = %(owner)s,
    leased_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM free
WHERE n.number_id = free.number_id
RETURNING n.number_id, n.tenant_id, n.provider, n.base_url, n.credential, n.messages_per_s, n.messages_per_minute,
          n.coexistence, n.fencing_token,
          greatest(coalesce(extract(epoch FROM n.paused_until - clock_timestamp()), 0), 0)::double precision AS paused_s,
          greatest(extract(epoch FROM clock_timestamp() - free.leased_until), 0)::double precision AS rested_s;

-- release_numbers --
-- The next holder need not wait for the lease to run out.
UPDATE sender_numbers
SET leased_until = clock_timestamp()
WHERE lease_owner = %(owner)s AND leased_until > clock_timestamp()
  AND number_id = ANY (coalesce(%(numbers)s::text[], ARRAY[number_id]));

-- forget_process --
DELETE FROM sender_processes WHERE owner = %(owner)s;

-- claim_deliveries --
-- Of each number as many as it has places for, from the rows that are routed to it. Each tenant's rows come in the order
-- of the index; rank by tenant is what keeps a large tenant from taking every place of a shared number.
-- Stopped scopes are left where they are, so that a stop costs no writes.
WITH room AS (
    SELECT r.number_id, r.places, n.tenant_id
    FROM unnest(%(numbers)s::text[], %(places)s::integer[]) AS r (number_id, places)
    JOIN sender_numbers AS n USING (number_id)
), found AS (
    SELECT d.*, r.number_id, r.places
    FROM room AS r
    CROSS JOIN LATERAL (
        SELECT r.tenant_id WHERE r.tenant_id <> '*'
        UNION ALL
        SELECT t.tenant_id
        FROM tenants AS t
        WHERE r.tenant_id = '*' AND NOT EXISTS (SELECT FROM sender_numbers AS n WHERE n.tenant_id = t.tenant_id)
    ) AS t
    CROSS JOIN LATERAL (
        SELECT d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, d.priority, d.due_at, d.created_at
        FROM deliveries AS d
        WHERE d.tenant_id = t.tenant_id
          AND d.route = r.number_id
          AND d.state = 'waiting'
          AND d.due_at <= now()
          AND NOT EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'campaign:' || d.campaign_id)
        ORDER BY d.priority DESC, d.due_at, d.created_at
        LIMIT r.places
        FOR UPDATE OF d SKIP LOCKED
    ) AS d
    WHERE (SELECT sending_is_permitted())
      AND NOT EXISTS (SELECT FROM sending_stops AS s
                      WHERE s.scope IN ('global', 'recovery', 'tenant:' || t.tenant_id))
), ranked AS (
    SELECT f.*,
           row_number() OVER (PARTITION BY f.number_id, f.tenant_id
                              ORDER BY f.priority DESC, f.due_at, f.created_at) AS rank
    FROM found AS f
), chosen AS (
    SELECT placed.*
    FROM (
        SELECT r.*,
               row_number() OVER (PARTITION BY r.number_id
                                  ORDER BY r.rank, r.priority DESC, r.due_at, r.created_at) AS place
        FROM ranked AS r
    ) AS placed
    WHERE placed.place <= placed.places
)
UPDATE deliveries AS d
SET state = 'leased',
    reason = '',
    lease_token = %(lease_token)s,
    leased_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    sequence = d.sequence + 1,
    updated_at = clock_timestamp()
FROM chosen AS f
LEFT JOIN contacts AS p ON p.tenant_id = f.tenant_id AND p.contact_id = f.contact_id
WHERE d.campaign_month = f.campaign_month AND d.campaign_id = f.campaign_id AND d.contact_id = f.contact_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id, d.campaign_version,
          d.variables, d.priority, d.due_at, d.created_at, d.lease_token, p.phone, p.name, p.email, d.with_fallbacks,
          d.channel, d.route;

-- get_definition --
-- A campaign's version never changes: whoever has read it once need not ask again.
SELECT definition FROM campaign_versions WHERE campaign_id = %(campaign_id)s AND version = %(version)s;

-- hold_off_stops --
-- A stop takes this table in a mode that conflicts: once `stop-sending` has returned, no older mark is under way.
LOCK TABLE sending_stops IN ROW SHARE MODE;

-- announce_stops --
-- Before anything else is locked: who shuts out marks locks budgets afterwards.
LOCK TABLE sending_stops IN ROW EXCLUSIVE MODE;

-- mark_calling --
-- The one gate before a call. Everything that forbids it is asked here, in the statement that lets it pass, with the
-- rows locked in key order. A row that another lease holds by now is not returned at all.
WITH asked AS (
    SELECT *
    FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[], %(lease_tokens)s::uuid[],
                %(numbers)s::text[], %(fencing_tokens)s::bigint[], %(attempt_ids)s::uuid[], %(emails)s::text[],
                %(budget_due_in_s)s::double precision[], %(budget_reasons)s::text[])
        AS a (campaign_month, campaign_id, contact_id, lease_token, number_id, fencing_token, attempt_id, email,
              budget_due_in_s, budget_reason)
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, d.route, a.number_id, a.fencing_token,
           a.attempt_id, a.email, a.budget_due_in_s, a.budget_reason
    FROM asked AS a
    JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'leased' AND d.lease_token = a.lease_token AND d.leased_until > clock_timestamp()
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d
), judged AS (
    SELECT h.*, v.state, v.reason
    FROM held AS h
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(o.state IN ('sent', 'delivered', 'read', 'ambiguous')), false) AS called,
               coalesce(bool_or(o.state = 'calling' OR o.contact_id < h.contact_id
                                AND (o.state = 'leased' OR o.state = 'waiting' AND o.soon)), false) AS goes_first
        FROM same_person(h.tenant_id, h.contact_id) AS p (contact_id)
        -- OFFSET 0: a probe of the key for each id. Joined freely, every call reads its campaign.
        CROSS JOIN LATERAL (SELECT d.contact_id, d.state,
                                   d.due_at <= clock_timestamp() + make_interval(secs => %(other_first_wait_s)s) AS soon
                            FROM deliveries AS d
                            WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id
                              AND d.contact_id = p.contact_id
                            OFFSET 0) AS o
        WHERE p.contact_id <> h.contact_id
    ) AS o
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN EXISTS (SELECT FROM same_person(h.tenant_id, h.contact_id) AS p (contact_id)
                         JOIN suppressions AS s ON s.tenant_id = h.tenant_id AND s.contact_id = p.contact_id
                         WHERE NOT s.lifted)
                THEN ARRAY['suppressed', 'the contact opted out']
            -- Also by the e-mail address that the contact stated, whoever opted out with it, on every channel.
            WHEN h.email IS NOT NULL
                 AND EXISTS (SELECT FROM same_person(h.tenant_id, h.email) AS p (contact_id)
                             JOIN suppressions AS s ON s.tenant_id = h.tenant_id AND s.contact_id IN (p.contact_id, h.email)
                             WHERE NOT s.lifted)
                THEN ARRAY['suppressed', 'the e-mail address opted out']
            -- Of the deliveries of one person only one is called. Of several that may be, that of the lowest contact
            -- id goes first; the others wait for what becomes of it, since it may fail. One that is due much later
            -- goes first no more; so much later that it cannot be in flight before this mark is committed.
            WHEN o.called
                THEN ARRAY['suppressed', 'the person has a delivery of this campaign under another contact id']
            WHEN o.goes_first
                THEN ARRAY['waiting', %(other_first)s::text]
            WHEN EXISTS (SELECT FROM campaigns AS c
                         WHERE c.campaign_id = h.campaign_id AND c.cancelled_at IS NOT NULL)
                THEN ARRAY['cancelled', 'the campaign was cancelled']
            WHEN EXISTS (SELECT FROM sending_stops AS s
                         WHERE s.scope IN ('global', 'recovery', 'tenant:' || h.tenant_id,
                                           'campaign:' || h.campaign_id, 'number:' || h.number_id))
                 OR NOT (SELECT sending_is_permitted())
                THEN ARRAY['waiting', 'sending is stopped']
            WHEN h.route IS DISTINCT FROM h.number_id
                THEN ARRAY['waiting', 'it is routed to another number']
            WHEN NOT EXISTS (SELECT FROM sender_numbers AS n
                             WHERE n.number_id = h.number_id AND n.fencing_token = h.fencing_token
                               AND n.leased_until > clock_timestamp() AND n.state = 'active')
                THEN ARRAY['waiting', %(number_lost)s::text]
            WHEN EXISTS (SELECT FROM sender_numbers AS n
                         WHERE n.number_id = h.number_id AND n.paused_until > clock_timestamp())
                THEN ARRAY['waiting', %(number_paused)s::text]
            -- The number's budget of 24 h has no place for it: judged just before, under the budget's lock.
            WHEN h.budget_reason IS NOT NULL
                THEN ARRAY['waiting', h.budget_reason]
            ELSE ARRAY['calling', '']
        END AS verdict
    ) AS x
    CROSS JOIN LATERAL (SELECT x.verdict[1] AS state, x.verdict[2] AS reason) AS v
), changed AS (
    UPDATE deliveries AS d
    SET state = j.state,
        reason = j.reason,
        attempts = d.attempts + CASE j.state WHEN 'calling' THEN 1 ELSE 0 END,
        attempt_id = CASE j.state WHEN 'calling' THEN j.attempt_id ELSE d.attempt_id END,
        number_id = CASE j.state WHEN 'calling' THEN j.number_id ELSE d.number_id END,
        route = CASE WHEN j.state <> 'waiting' THEN d.route END,
        -- An earlier message that was taken back is not this call's.
        provider_message_id = CASE WHEN j.state <> 'calling' THEN d.provider_message_id END,
        lease_token = CASE j.state WHEN 'calling' THEN d.lease_token END,
        leased_until = CASE j.state
            WHEN 'calling' THEN clock_timestamp() + make_interval(secs => %(lease_s)s) END,
        due_at = CASE WHEN j.reason = %(other_first)s
                      THEN clock_timestamp() + make_interval(secs => %(other_first_wait_s)s)
                      WHEN j.reason = j.budget_reason
                      THEN clock_timestamp() + make_interval(secs => j.budget_due_in_s) ELSE d.due_at END,
        sequence = d.sequence + 1,
        updated_at = clock_timestamp()
    FROM judged AS j
    WHERE d.campaign_month = j.campaign_month AND d.campaign_id = j.campaign_id AND d.contact_id = j.contact_id
    RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id, d.tenant_id, d.completion_id,
              d.sequence, d.state, d.updated_at, d.reason, d.provider_message_id, d.attempts, d.attempt_id,
              d.number_id, d.channel
), attempted AS (
    INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, provider, channel)
    SELECT c.attempt_id, c.delivery_id, c.number_id, c.attempts, n.provider, c.channel
    FROM changed AS c
    LEFT JOIN sender_numbers AS n ON n.number_id = c.number_id
    WHERE c.state = 'calling'
)
SELECT c.campaign_month, c.campaign_id, c.contact_id, c.delivery_id::text, c.tenant_id, c.completion_id::text,
       c.sequence, c.state, (extract(epoch FROM c.updated_at) * 1000)::bigint AS at_ms, c.reason,
       c.provider_message_id, c.attempts, c.attempt_id::text, c.number_id
FROM changed AS c;

-- record_results --
-- A status webhook may have been faster: it already moved the row, and only the message id is added then. A row that
-- was given up as ambiguous is resolved by its own call's late result: the attempt id says that it is the same call.
WITH given AS (
    SELECT *
    FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[], %(attempt_ids)s::uuid[],
                %(states)s::text[], %(reasons)s::text[], %(due_in_s)s::double precision[],
                %(uncounted)s::integer[], %(message_ids)s::text[], %(with_fallbacks)s::boolean[],
                %(channels)s::text[], %(refused)s::text[])
        AS g (campaign_month, campaign_id, contact_id, attempt_id, state, reason, due_in_s, uncounted, message_id,
              with_fallbacks, channel, refused)
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.state AS old_state, g.state, g.reason, g.due_in_s,
           g.uncounted, g.message_id, g.with_fallbacks, g.channel, g.refused
    FROM given AS g
    JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
    WHERE d.attempt_id = g.attempt_id
      AND d.state IN ('calling', 'ambiguous', 'sent', 'delivered', 'read', 'failed')
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d
), named AS (
    UPDATE deliveries AS d
    SET provider_message_id = h.message_id, updated_at = clock_timestamp()
    FROM held AS h
    WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
      AND h.old_state NOT IN ('calling', 'ambiguous')
      AND h.message_id IS NOT NULL AND d.provider_message_id IS NULL
)
UPDATE deliveries AS d
SET state = h.state,
    reason = h.reason,
    due_at = CASE WHEN h.due_in_s IS NULL THEN d.due_at
                  ELSE clock_timestamp() + make_interval(secs => h.due_in_s) END,
    attempts = CASE WHEN h.channel IS NULL THEN d.attempts - h.uncounted ELSE 0 END,
    with_fallbacks = h.channel IS NULL AND (d.with_fallbacks OR h.with_fallbacks),
    channel = coalesce(h.channel, d.channel),
    refused_by = CASE WHEN h.channel <> d.channel THEN '{}' ELSE array_remove(d.refused_by || h.refused, NULL) END,
    route = CASE WHEN h.state <> 'waiting' THEN d.route END,
    provider_message_id = coalesce(h.message_id, d.provider_message_id),
    lease_token = NULL,
    leased_until = NULL,
    sequence = d.sequence + 1,
    updated_at = clock_timestamp()
FROM held AS h
WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
  AND h.old_state IN ('calling', 'ambiguous') AND h.state <> h.old_state
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- finish_attempts --
UPDATE delivery_attempts AS a
SET finished_at = clock_timestamp(),
    outcome = g.outcome,
    provider_code = g.code,
    action = g.action,
    detail = g.detail,
    provider_message_id = coalesce(g.message_id, a.provider_message_id)
FROM unnest(%(attempt_ids)s::uuid[], %(outcomes)s::text[], %(codes)s::text[], %(actions)s::text[],
            %(details)s::text[], %(message_ids)s::text[]) AS g (attempt_id, outcome, code, action, detail, message_id)
-- A late result does not undo what a status webhook has reported since the call.
WHERE a.attempt_id = g.attempt_id AND a.outcome IS DISTINCT FROM 'taken_back';

-- settle_leased --
-- Leased rows that will not be called: handed back (waiting), or impossible to send (failed). Only while ours.
WITH given AS (
    SELECT *
    FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[], %(lease_tokens)s::uuid[],
                %(states)s::text[], %(reasons)s::text[], %(channels)s::text[], %(refused)s::text[])
        AS g (campaign_month, campaign_id, contact_id, lease_token, state, reason, channel, refused)
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, g.state, g.reason, g.channel, g.refused
    FROM given AS g
    JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'leased' AND d.lease_token = g.lease_token
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d
)
UPDATE deliveries AS d
SET state = h.state, reason = h.reason, lease_token = NULL, leased_until = NULL,
    attempts = CASE WHEN h.channel IS NULL THEN d.attempts ELSE 0 END,
    with_fallbacks = h.channel IS NULL AND d.with_fallbacks,
    channel = coalesce(h.channel, d.channel),
    refused_by = CASE WHEN h.channel <> d.channel THEN '{}' ELSE array_remove(d.refused_by || h.refused, NULL) END,
    route = CASE WHEN h.state <> 'waiting' THEN d.route END,
    sequence = d.sequence + 1, updated_at = clock_timestamp()
FROM held AS h
WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- reclaim_leased --
-- Whoever leased them is gone or slow; they were not called, so that anybody may try again.
-- Not so in a ledger from an older copy, where they may have been: that is not permitted yet.
WITH expired AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id
    FROM deliveries AS d
    WHERE d.state = 'leased' AND d.leased_until <= clock_timestamp() AND (SELECT sending_is_permitted())
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    LIMIT %(limit)s
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d
SET state = 'waiting', reason = 'the lease ran out', lease_token = NULL, leased_until = NULL, route = NULL,
    sequence = d.sequence + 1, updated_at = clock_timestamp()
FROM expired AS e
WHERE d.campaign_month = e.campaign_month AND d.campaign_id = e.campaign_id AND d.contact_id = e.contact_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- reclaim_calling --
-- The mark's lease is longer than a call can take: whoever made the call did not live to write its result down.
WITH expired AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.attempt_id
    FROM deliveries AS d
    WHERE d.state = 'calling' AND d.leased_until <= clock_timestamp()
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    LIMIT %(limit)s
    FOR UPDATE OF d SKIP LOCKED
), finished AS (
    UPDATE delivery_attempts AS a
    SET finished_at = clock_timestamp(), outcome = 'ambiguous', detail = 'the sender was lost during the call'
    FROM expired AS e
    WHERE a.attempt_id = e.attempt_id AND a.finished_at IS NULL
)
UPDATE deliveries AS d
SET state = 'ambiguous', reason = 'the sender was lost during the call', lease_token = NULL, leased_until = NULL,
    sequence = d.sequence + 1, updated_at = clock_timestamp()
FROM expired AS e
WHERE d.campaign_month = e.campaign_month AND d.campaign_id = e.campaign_id AND d.contact_id = e.contact_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- claim_lookups --
-- Ambiguous attempts of these numbers that are due to be looked up at their provider. Counted here, before the lookup.
WITH due AS MATERIALIZED (
    SELECT a.attempt_id, d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id
    FROM deliveries AS d
    JOIN delivery_attempts AS a ON a.attempt_id = d.attempt_id
    WHERE d.state = 'ambiguous'
      AND a.number_id = ANY (%(numbers)s)
      AND a.lookups < %(lookups_max)s
      AND coalesce(a.lookup_at, coalesce(a.finished_at, a.called_at) + make_interval(secs => %(after_s)s))
          <= clock_timestamp()
    ORDER BY a.attempt_id
    LIMIT %(limit)s
    FOR UPDATE OF a SKIP LOCKED
)
UPDATE delivery_attempts AS a
SET lookups = a.lookups + 1,
    lookup_at = clock_timestamp() + make_interval(secs => %(after_s)s * 4.0 ^ (a.lookups + 1))
FROM due AS d
LEFT JOIN contacts AS p ON p.tenant_id = d.tenant_id AND p.contact_id = d.contact_id
WHERE a.attempt_id = d.attempt_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, a.attempt_id, a.number_id, p.phone;

-- cancel_ended --
-- Not in a ledger from an older copy, where they may have been called: that is not permitted yet.
WITH waiting AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id
    FROM campaigns AS c
    JOIN deliveries AS d ON d.campaign_month = c.month AND d.campaign_id = c.campaign_id
    WHERE c.campaign_id = ANY(%(campaigns)s::text[]) AND d.state = 'waiting' AND (SELECT sending_is_permitted())
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    LIMIT %(limit)s
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d
SET state = 'cancelled', reason = 'its campaign ended long ago',
    sequence = d.sequence + 1, updated_at = clock_timestamp()
FROM waiting AS w
WHERE d.campaign_month = w.campaign_month AND d.campaign_id = w.campaign_id AND d.contact_id = w.contact_id
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- suppress_contacts --
INSERT INTO suppressions (tenant_id, contact_id, reason)
SELECT * FROM unnest(%(tenants)s::text[], %(contacts)s::text[], %(reasons)s::text[])
ON CONFLICT (tenant_id, contact_id) DO UPDATE
SET decided_at = excluded.decided_at, lifted = false,
    reason = CASE WHEN suppressions.lifted THEN excluded.reason ELSE suppressions.reason END
WHERE suppressions.decided_at < excluded.decided_at;

-- learn_recipient --
-- A new alias only, and none that others lead to: what must be united is, with the next status of the message.
INSERT INTO contact_aliases (tenant_id, alias, contact_id, is_contact, source)
SELECT %(tenant)s, l.alias,
       coalesce((SELECT a.contact_id FROM contact_aliases AS a
                 WHERE a.tenant_id = %(tenant)s AND a.alias = %(contact)s), %(contact)s),
       l.is_contact, 'answer'
FROM unnest(%(aliases)s::text[], %(are_contacts)s::boolean[]) AS l (alias, is_contact)
WHERE NOT EXISTS (SELECT FROM contact_aliases AS o WHERE o.tenant_id = %(tenant)s AND o.contact_id = l.alias)
ORDER BY l.alias
ON CONFLICT DO NOTHING;

-- stop_scopes --
-- The first reason stays: it is the one that an operator has to look at.
INSERT INTO sending_stops (scope, reason)
SELECT * FROM unnest(%(scopes)s::text[], %(reasons)s::text[])
ON CONFLICT DO NOTHING;

-- stop_campaigns_of_template --
INSERT INTO sending_stops (scope, reason)
SELECT DISTINCT 'campaign:' || v.campaign_id, %(reason)s::text
FROM campaigns AS c
JOIN campaign_versions AS v USING (campaign_id)
WHERE c.tenant_id = %(tenant_id)s
  AND c.cancelled_at IS NULL
  AND v.definition -> 'message' ->> 'template' = %(template)s
ON CONFLICT DO NOTHING;

-- count_rejection --
-- At most as many rows as the limit, a campaign and a code: more of them would say nothing new.
INSERT INTO campaign_rejections (campaign_id, code, contact_id)
SELECT %(campaign_id)s, %(code)s, %(contact_id)s
WHERE %(recipients_max)s > (
    SELECT count(*) FROM campaign_rejections AS r WHERE r.campaign_id = %(campaign_id)s AND r.code = %(code)s
)
ON CONFLICT DO NOTHING;

-- stop_rejected_campaign --
INSERT INTO sending_stops (scope, reason)
SELECT 'campaign:' || %(campaign_id)s, %(reason)s
WHERE %(recipients_max)s <= (
    SELECT count(*) FROM campaign_rejections AS r WHERE r.campaign_id = %(campaign_id)s AND r.code = %(code)s
)
ON CONFLICT DO NOTHING;

-- forget_rejections --
-- Asked with every accepted message; the table is nearly always empty.
DELETE FROM campaign_rejections AS r
USING (
    SELECT campaign_id, code, contact_id
    FROM campaign_rejections
    WHERE campaign_id = ANY (%(campaigns)s)
    FOR UPDATE SKIP LOCKED
) AS past
WHERE r.campaign_id = past.campaign_id AND r.code = past.code AND r.contact_id = past.contact_id;

-- hold_number --
-- It takes the place of a pause for a lost session, which would end by itself.
UPDATE sender_numbers
SET state = %(state)s, reason = %(reason)s, session_lost_at = NULL
WHERE number_id = %(number_id)s AND (state = 'active' OR session_lost_at IS NOT NULL);

-- lock_number --
-- Before `pause_session`, in a statement of its own: a notice that the session came back locks its number, too, and what
-- it committed is read only by a statement that begins after it.
SELECT number_id FROM sender_numbers WHERE number_id = %(number_id)s FOR NO KEY UPDATE;

-- pause_session --
-- Until the session is there again. Not where it came back, or an operator released the number, after this call had
-- begun: the answer is older.
UPDATE sender_numbers AS n
SET state = 'paused', reason = %(reason)s, session_lost_at = a.called_at
FROM delivery_attempts AS a
WHERE a.attempt_id = %(attempt_id)s AND n.number_id = %(number_id)s AND n.state = 'active'
  AND NOT EXISTS (SELECT FROM provider_notices AS o
                  WHERE o.provider = n.provider AND o.account_id = n.number_id AND o.effect = 'session_open'
                    AND o.at > a.called_at)
  AND NOT is_released_since('number:' || n.number_id, a.called_at);

-- hold_account --
-- A tenant's numbers that share provider, address and credential share their account. Another tenant's never do: one
-- access token may serve accounts of several tenants, and what one owes is no reason to stop the others.
UPDATE sender_numbers AS n
SET state = %(state)s, reason = %(reason)s, session_lost_at = NULL
FROM sender_numbers AS this
WHERE this.number_id = %(number_id)s
  AND n.tenant_id = this.tenant_id AND n.provider = this.provider AND n.base_url = this.base_url AND n.credential = this.credential
  AND (n.state = 'active' OR n.session_lost_at IS NOT NULL);

-- pause_numbers --
-- As in `hold_account`; an access token belongs to one account and one app, whose limits are shared too. A shorter pause
-- does not end a longer one. All of a transaction in one statement, in the order in which leases lock them.
WITH paused AS (
    SELECT n.number_id, max(g.pause_s) AS pause_s
    FROM unnest(%(numbers)s::text[], %(pauses_s)s::double precision[], %(whole_accounts)s::boolean[])
        AS g (number_id, pause_s, whole_account)
    JOIN sender_numbers AS this ON this.number_id = g.number_id
    JOIN sender_numbers AS n
      ON n.number_id = this.number_id
         OR (g.whole_account AND n.provider = this.provider AND n.base_url = this.base_url
             AND n.credential = this.credential)
    GROUP BY n.number_id
), locked AS (
    SELECT n.number_id, p.pause_s
    FROM sender_numbers AS n
    JOIN paused AS p USING (number_id)
    ORDER BY n.number_id
    FOR UPDATE OF n
)
UPDATE sender_numbers AS n
SET paused_until = greatest(n.paused_until, clock_timestamp() + make_interval(secs => l.pause_s))
FROM locked AS l
WHERE n.number_id = l.number_id;

-- open_counts --
-- Only states with an index of their own: asked every few seconds, however large the ledger grows.
SELECT state, count(*) AS found FROM deliveries WHERE state IN ('leased', 'calling') GROUP BY state
UNION ALL
SELECT 'waiting', count(*) FROM deliveries WHERE state = 'waiting'
UNION ALL
SELECT 'ambiguous', count(*) FROM deliveries WHERE state = 'ambiguous';

-- sending_standing --
-- Everything on which all sending depends, in one row; asked every few seconds.
SELECT (SELECT reason FROM sending_stops WHERE scope = 'global') AS stop_reason,
       (SELECT reason FROM sending_stops WHERE scope = 'recovery') AS recovery_reason,
       (SELECT granted_until > clock_timestamp() FROM sending_permit) AS permit_runs,
       (SELECT incarnation = ledger_incarnation() FROM sending_permit) AS permit_fits,
       (SELECT count(*) FROM sender_processes WHERE alive_until > clock_timestamp()) AS senders,
       count(*) AS numbers,
       count(*) FILTER (WHERE n.usable) AS usable,
       count(*) FILTER (WHERE n.usable AND n.served) AS served,
       count(*) FILTER (WHERE n.usable AND n.served AND n.paused) AS paused
FROM (
    SELECT n.state = 'active'
               AND NOT EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id) AS usable,
           EXISTS (SELECT FROM sender_processes AS p
                   WHERE p.alive_until > clock_timestamp()
                     AND n.provider = ANY (p.providers) AND n.credential = ANY (p.credentials)) AS served,
           coalesce(n.paused_until > clock_timestamp(), false) AS paused
    FROM sender_numbers AS n
) AS n;

-- due_deliveries --
SELECT count(*) AS found,
       coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::double precision AS age_s
FROM (
    SELECT due_at FROM deliveries WHERE state = 'waiting' AND due_at <= now() LIMIT %(counted_max)s
) AS due;

-- shut_out_marks --
-- Waits for the marks under way, and holds off new ones, until this transaction ends.
LOCK TABLE sending_stops IN EXCLUSIVE MODE;

-- stop_scope --
INSERT INTO sending_stops (scope, reason) VALUES (%(scope)s, %(reason)s) ON CONFLICT DO NOTHING;

-- is_paused_by_tenant --
SELECT 1 FROM sending_stops WHERE scope = %(scope)s AND by_tenant;

-- pause_by_tenant --
INSERT INTO sending_stops (scope, reason, by_tenant) VALUES (%(scope)s, %(reason)s, true) ON CONFLICT DO NOTHING;

-- end_pause_of_tenant --
DELETE FROM sending_stops WHERE scope = %(scope)s AND by_tenant;

-- stopped_by_others --
-- Why the scope does not send, its tenant's pause apart.
SELECT reason FROM sending_stops WHERE scope = %(scope)s AND NOT by_tenant
UNION ALL
SELECT reason FROM sender_numbers WHERE 'number:' || number_id = %(scope)s AND state <> 'active'
LIMIT 1;

-- resume_scope --
-- A campaign's rejections are counted from the start again. A tenant's pause stays: the tenant ends it.
WITH forgotten AS (
    DELETE FROM campaign_rejections WHERE 'campaign:' || campaign_id = %(scope)s
)
DELETE FROM sending_stops WHERE scope = %(scope)s AND NOT by_tenant;

-- resume_number --
UPDATE sender_numbers
SET state = 'active', reason = '', paused_until = NULL, session_lost_at = NULL
WHERE number_id = %(number_id)s AND (state <> 'active' OR paused_until > clock_timestamp());

-- note_release --
-- Reports from before it change nothing any more; those older than the provider's repeats need no note.
WITH old AS (
    DELETE FROM sending_releases
    WHERE released_at < clock_timestamp() - make_interval(days => %(days)s) AND scope <> %(scope)s
)
INSERT INTO sending_releases (scope, released_at) VALUES (%(scope)s, clock_timestamp())
ON CONFLICT (scope) DO UPDATE SET released_at = excluded.released_at;

-- list_stops --
SELECT scope, reason, stopped_at, by_tenant FROM sending_stops ORDER BY scope, by_tenant;

-- list_held_numbers --
SELECT number_id, tenant_id, state, reason FROM sender_numbers WHERE state <> 'active' ORDER BY number_id;

-- enqueue_events --
INSERT INTO outbox (topic, key, value)
SELECT %(role)s::text, e.key, e.value
FROM unnest(%(keys)s::bytea[], %(values)s::bytea[]) WITH ORDINALITY AS e (key, value, position)
ORDER BY e.position
RETURNING id;

-- unpublished_events --
-- The events that may not be in their topic: a row is deleted after Kafka has acknowledged it, and until then the events
-- of a committed transaction can be seen. By ranges, because the ids of a claim lie together: cheaper than one by one.
SELECT o.id
FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS claim (first_id, last_id)
CROSS JOIN LATERAL (SELECT id FROM outbox WHERE id BETWEEN claim.first_id AND claim.last_id OFFSET 0) AS o;
