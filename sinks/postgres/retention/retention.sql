-- due_days --
-- Partitions by day with a day before the first one that is kept: the oldest day first, its tables in the order given.
SELECT c.relname AS name, parent.relname AS parent, right(c.relname, 8) AS day,
       greatest(c.reltuples, 0)::bigint AS rows
FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS t (name, position)
JOIN pg_class AS parent ON parent.relname = t.name AND parent.relnamespace = 'public'::regnamespace
JOIN pg_inherits AS i ON i.inhparent = parent.oid
JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE c.relname ~ ('^' || t.name || '_[0-9]{8}$')
  AND right(c.relname, 8) < %(first_kept)s
ORDER BY day, t.position
LIMIT %(partitions)s;

-- oldest_day --
SELECT min(right(c.relname, 8)) AS day
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
JOIN pg_class AS parent ON parent.oid = i.inhparent
WHERE parent.relname = %(table)s AND c.relname ~ ('^' || %(table)s || '_[0-9]{8}$');

-- limit_lock_wait --
SELECT set_config('lock_timeout', %s, true);

-- ended_campaigns --
-- Campaigns that ended long ago, with deliveries that still wait, or (not %(open)s) without a delivery that is open or
-- has changed lately. Locked, so that none gets a new version meanwhile: ask again, by the ids that are locked, before
-- anything is changed, because what is read here may be older than the lock.
SELECT c.campaign_id, c.cancelled_at IS NULL AS uncancelled
FROM campaigns AS c
CROSS JOIN LATERAL (
    SELECT v.effective_at, (v.definition->>'active')::boolean AS active, (v.definition->>'ends_at')::bigint AS ends_at
    FROM campaign_versions AS v
    WHERE v.campaign_id = c.campaign_id
    ORDER BY v.version DESC
    LIMIT 1
) AS newest
WHERE c.ledger_deleted_at IS NULL
  AND (%(only)s::text[] IS NULL OR c.campaign_id = ANY(%(only)s::text[]))
  AND coalesce(
          c.cancelled_at,
          CASE WHEN NOT newest.active THEN newest.effective_at END,
          to_timestamp(newest.ends_at / 1000.0)
      ) < now() - %(age)s
  AND CASE WHEN %(open)s THEN EXISTS (
          SELECT FROM deliveries AS d
          WHERE d.campaign_month = c.month AND d.campaign_id = c.campaign_id AND d.state = 'waiting'
      ) ELSE NOT EXISTS (
          SELECT FROM deliveries AS d
          WHERE d.campaign_month = c.month AND d.campaign_id = c.campaign_id
            AND (d.state IN ('waiting', 'leased', 'calling') OR d.updated_at > now() - %(age)s)
      ) END
ORDER BY c.campaign_id
LIMIT %(campaigns)s
FOR UPDATE OF c SKIP LOCKED;

-- begin_pruning --
-- They are cancelled by it, so that nobody makes their ids active again: who got their message would not be known.
UPDATE campaigns
SET ledger_deleted_at = clock_timestamp(), cancelled_at = coalesce(cancelled_at, clock_timestamp())
WHERE campaign_id = ANY(%(only)s::text[]);

-- delete_deliveries --
-- With their attempts: what a delivery may still do is decided by them, so neither outlives the other. Campaign by
-- campaign, in the order of the key: no sort of all that is due.
WITH doomed AS (
    SELECT d.*
    FROM campaigns AS c
    CROSS JOIN LATERAL (
        SELECT d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id
        FROM deliveries AS d
        WHERE d.campaign_month = c.month AND d.campaign_id = c.campaign_id
        ORDER BY d.contact_id
        LIMIT %(rows)s
        FOR UPDATE OF d SKIP LOCKED
    ) AS d
    WHERE c.ledger_deleted_at IS NOT NULL
    LIMIT %(rows)s
), attempts AS (
    DELETE FROM delivery_attempts AS a USING doomed WHERE a.delivery_id = doomed.delivery_id
    RETURNING a.attempt_id
), deleted AS (
    DELETE FROM deliveries AS d USING doomed
    WHERE d.campaign_month = doomed.campaign_month AND d.campaign_id = doomed.campaign_id
      AND d.contact_id = doomed.contact_id
    RETURNING d.delivery_id
)
SELECT (SELECT count(*) FROM deleted) AS deliveries, (SELECT count(*) FROM attempts) AS attempts;

-- delete_rejections --
DELETE FROM campaign_rejections AS r USING campaigns AS c
WHERE c.campaign_id = r.campaign_id AND c.ledger_deleted_at IS NOT NULL;

-- try_lead --
SELECT pg_try_advisory_lock(%s);

-- oldest_open_days --
-- Of tenants with an open delivery of so long ago. A completion's day is at most a moment after its acceptance.
SELECT tenant_id, min(completion_day) AS day
FROM deliveries
WHERE state IN ('waiting', 'leased', 'calling') AND completion_day <= %(before)s
GROUP BY tenant_id;

-- sweep_contacts --
-- One page in the order of the key, as each sweep: an index by time would be changed by every completion. Contacts that
-- a tenant's open delivery may be of are held back.
WITH page AS (
    SELECT t.tenant_id, t.contact_id, t.seen_at, t.seen_at < %(before)s AS due, h.held_from
    FROM (
        SELECT tenant_id, contact_id, seen_at FROM contacts
        WHERE (tenant_id, contact_id) > (%(after_1)s, %(after_2)s)
        ORDER BY tenant_id, contact_id LIMIT %(rows)s
    ) AS t
    LEFT JOIN unnest(%(tenants)s::text[], %(held_from)s::timestamptz[]) AS h (tenant_id, held_from) USING (tenant_id)
), deleted AS (
    DELETE FROM contacts AS t USING page AS p
    WHERE t.tenant_id = p.tenant_id AND t.contact_id = p.contact_id
      AND t.seen_at < %(before)s AND t.seen_at < coalesce(p.held_from, 'infinity')
    RETURNING 1
), last AS (SELECT tenant_id, contact_id FROM page ORDER BY tenant_id DESC, contact_id DESC LIMIT 1)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM deleted) AS deleted,
       (SELECT count(*) FROM page WHERE due AND seen_at >= held_from) AS held,
       (SELECT min(seen_at) FROM page WHERE NOT due OR seen_at >= held_from) AS oldest,
       (SELECT tenant_id FROM last) AS last_1, (SELECT contact_id FROM last) AS last_2, NULL AS last_3;

-- sweep_provider_statuses --
-- Statuses that were merged are in their deliveries; the others wait in vain after so long.
WITH page AS (
    SELECT provider, provider_message_id, status, at FROM provider_statuses
    WHERE (provider, provider_message_id, status) > (%(after_1)s, %(after_2)s, %(after_3)s)
    ORDER BY provider, provider_message_id, status LIMIT %(rows)s
), deleted AS (
    DELETE FROM provider_statuses AS t USING page AS p
    WHERE t.provider = p.provider AND t.provider_message_id = p.provider_message_id AND t.status = p.status
      AND t.at < %(before)s
    RETURNING 1
), last AS (
    SELECT provider, provider_message_id, status FROM page
    ORDER BY provider DESC, provider_message_id DESC, status DESC LIMIT 1
)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM deleted) AS deleted, 0 AS held,
       (SELECT min(at) FROM page WHERE at >= %(before)s) AS oldest,
       (SELECT provider FROM last) AS last_1, (SELECT provider_message_id FROM last) AS last_2,
       (SELECT status FROM last) AS last_3;

-- sweep_completions_apart --
-- Ids of completions whose day is no longer in the archive.
WITH page AS (
    SELECT completion_id, day FROM completions_apart
    WHERE completion_id > coalesce(nullif(%(after_1)s, ''), '00000000-0000-0000-0000-000000000000')::uuid
    ORDER BY completion_id LIMIT %(rows)s
), deleted AS (
    DELETE FROM completions_apart AS t USING page AS p
    WHERE t.completion_id = p.completion_id AND t.day < %(before)s
    RETURNING 1
), last AS (SELECT completion_id FROM page ORDER BY completion_id DESC LIMIT 1)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM deleted) AS deleted, 0 AS held,
       (SELECT min(day) FROM page WHERE day >= %(before)s)::timestamptz AS oldest,
       (SELECT completion_id::text FROM last) AS last_1, NULL AS last_2, NULL AS last_3;

-- delete_tokens --
DELETE FROM tokens
WHERE token_hash IN (
    SELECT token_hash FROM tokens WHERE revoked_at < now() - %(age)s OR expires_at < now() - %(age)s
    ORDER BY revoked_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
RETURNING token_hash;

-- delete_answers --
DELETE FROM idempotent_requests
WHERE (tenant_id, idempotency_key) IN (
    SELECT tenant_id, idempotency_key FROM idempotent_requests
    WHERE created_at < now() - %(age)s
    ORDER BY created_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
);

-- delete_webhook_messages --
DELETE FROM webhook_messages
WHERE message_id IN (
    SELECT message_id FROM webhook_messages
    WHERE created_at < now() - %(age)s
    ORDER BY created_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
);

-- delete_users --
DELETE FROM users
WHERE (tenant_id, user_id) IN (
    SELECT tenant_id, user_id FROM users
    WHERE state = 'disabled' AND state_changed_at < now() - %(age)s
    ORDER BY state_changed_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
);
