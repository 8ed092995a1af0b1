-- days_before --
-- Partitions by day with a day before the first one that is kept.
SELECT c.relname AS name, greatest(c.reltuples, 0)::bigint AS rows
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
JOIN pg_class AS parent ON parent.oid = i.inhparent
WHERE parent.relname = %(table)s
  AND c.relname ~ ('^' || %(table)s || '_[0-9]{8}$')
  AND right(c.relname, 8) < %(first_kept)s
ORDER BY c.relname
LIMIT %(partitions)s;

-- oldest_day --
SELECT min(right(c.relname, 8)) AS day
FROM pg_inherits AS i
JOIN pg_class AS c ON c.oid = i.inhrelid
JOIN pg_class AS parent ON parent.oid = i.inhparent
WHERE parent.relname = %(table)s AND c.relname ~ ('^' || %(table)s || '_[0-9]{8}$');

-- limit_lock_wait --
SELECT set_config('lock_timeout', %s, true);

-- begin_pruning --
-- Campaigns that ended long ago, without a delivery that is open or has changed lately. They are cancelled by it, so
-- that nobody makes their ids active again: who got their message would not be known any more.
UPDATE campaigns AS c
SET ledger_deleted_at = clock_timestamp(), cancelled_at = coalesce(c.cancelled_at, clock_timestamp())
FROM (
    SELECT DISTINCT ON (v.campaign_id) v.campaign_id, v.effective_at,
           (v.definition->>'active')::boolean AS active, (v.definition->>'ends_at')::bigint AS ends_at
    FROM campaign_versions AS v
    ORDER BY v.campaign_id, v.version DESC
) AS newest
WHERE newest.campaign_id = c.campaign_id
  AND c.ledger_deleted_at IS NULL
  AND coalesce(
          c.cancelled_at,
          CASE WHEN NOT newest.active THEN newest.effective_at END,
          to_timestamp(newest.ends_at / 1000.0)
      ) < now() - %(age)s
  AND NOT EXISTS (
      SELECT FROM deliveries AS d
      WHERE d.campaign_month = c.month AND d.campaign_id = c.campaign_id
        AND (d.state IN ('waiting', 'leased', 'calling') OR d.updated_at > now() - %(age)s)
  )
RETURNING c.campaign_id;

-- delete_deliveries --
-- With their attempts: what a delivery may still do is decided by them, so neither outlives the other.
WITH doomed AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id
    FROM campaigns AS c
    JOIN deliveries AS d ON d.campaign_month = c.month AND d.campaign_id = c.campaign_id
    WHERE c.ledger_deleted_at IS NOT NULL
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    LIMIT %(rows)s
    FOR UPDATE OF d SKIP LOCKED
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

-- oldest_open_day --
-- A completion's day is at most a moment after its acceptance.
SELECT min(completion_day) AS day FROM deliveries WHERE state IN ('waiting', 'leased', 'calling');

-- sweep_contacts --
-- One page in the order of the key, as each sweep: an index by time would be changed by every completion.
WITH page AS (
    SELECT tenant_id, contact_id, seen_at FROM contacts
    WHERE (tenant_id, contact_id) > (%(after_1)s, %(after_2)s)
    ORDER BY tenant_id, contact_id LIMIT %(rows)s
), deleted AS (
    DELETE FROM contacts AS t USING page AS p
    WHERE t.tenant_id = p.tenant_id AND t.contact_id = p.contact_id AND t.seen_at < %(before)s
    RETURNING 1
), last AS (SELECT tenant_id, contact_id FROM page ORDER BY tenant_id DESC, contact_id DESC LIMIT 1)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM deleted) AS deleted,
       (SELECT min(seen_at) FROM page WHERE seen_at >= %(before)s) AS oldest,
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
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM deleted) AS deleted,
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
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM deleted) AS deleted,
       (SELECT min(day) FROM page WHERE day >= %(before)s)::timestamptz AS oldest,
       (SELECT completion_id::text FROM last) AS last_1, NULL AS last_2, NULL AS last_3;

-- delete_tokens --
DELETE FROM tokens
WHERE token_hash IN (
    SELECT token_hash FROM tokens WHERE revoked_at < now() - %(age)s
    ORDER BY revoked_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
RETURNING token_hash;
