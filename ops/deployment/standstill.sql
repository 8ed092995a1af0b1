-- tenants_without_number --
-- Tenants with something to send and no number that sends it. One with numbers of its own is served by them alone.
SELECT t.tenant_id
FROM tenants AS t
WHERE NOT EXISTS (
    SELECT
    FROM sender_numbers AS n
    WHERE n.state = 'active'
      AND NOT EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id)
      AND (n.tenant_id = t.tenant_id
           OR (n.tenant_id = '*' AND NOT EXISTS (SELECT FROM sender_numbers AS o WHERE o.tenant_id = t.tenant_id)))
  )
  -- LIMIT 1: a probe of the index for each tenant, where EXISTS may read everything that waits.
  AND ((SELECT true FROM deliveries AS d WHERE d.tenant_id = t.tenant_id AND d.state = 'waiting' LIMIT 1)
       OR EXISTS (
           SELECT
           FROM campaigns AS c
           CROSS JOIN LATERAL (
               SELECT v.definition FROM campaign_versions AS v
               WHERE v.campaign_id = c.campaign_id
               ORDER BY v.version DESC LIMIT 1
           ) AS newest
           WHERE c.tenant_id = t.tenant_id AND c.cancelled_at IS NULL
             AND (newest.definition ->> 'active')::boolean
             AND coalesce(to_timestamp((newest.definition ->> 'ends_at')::bigint / 1000.0) > now(), true)
       ))
ORDER BY t.tenant_id
LIMIT %(limit)s;

-- unresolved_webhooks --
-- Of contacts and messages that the ledger does not know. A status may come before the answer to its call: only those of
-- which the call is long over.
SELECT (SELECT count(*) FROM inbound_events WHERE NOT resolved AND consent IN ('stop', 'resume')) AS decisions,
       (SELECT count(*) FROM (SELECT FROM inbound_events WHERE NOT resolved LIMIT %(counted_max)s) AS e) AS events,
       (SELECT count(*)
        FROM (SELECT FROM provider_statuses
              WHERE NOT merged AND at < now() - make_interval(secs => %(late_s)s)
              LIMIT %(counted_max)s) AS s) AS statuses;

-- numbers_without_key --
-- Their webhooks are rejected: no receipts, no opt-outs.
SELECT n.number_id
FROM sender_numbers AS n
LEFT JOIN webhook_keys AS k ON k.number_id = n.number_id AND k.provider = n.provider
WHERE n.provider = ANY (%(providers)s) AND k.number_id IS NULL
ORDER BY n.number_id
LIMIT %(limit)s;

-- set_aside_events --
-- Events that Kafka did not take for their size; keys are ids of quizzes and campaigns.
SELECT topic, encode(key, 'escape') FROM outbox WHERE set_aside_at IS NOT NULL ORDER BY id LIMIT %(limit)s;
