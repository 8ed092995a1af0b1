-- save_number --
-- What its sender keeps here (lease, state) is not the operator's to change by saving.
INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential, messages_per_s, messages_per_minute)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (number_id) DO UPDATE
SET tenant_id = excluded.tenant_id, provider = excluded.provider, base_url = excluded.base_url,
    credential = excluded.credential, messages_per_s = excluded.messages_per_s,
    messages_per_minute = excluded.messages_per_minute
WHERE (sender_numbers.tenant_id, sender_numbers.provider, sender_numbers.base_url,
       sender_numbers.credential, sender_numbers.messages_per_s, sender_numbers.messages_per_minute)
    IS DISTINCT FROM
      (excluded.tenant_id, excluded.provider, excluded.base_url, excluded.credential, excluded.messages_per_s,
       excluded.messages_per_minute);

-- number_exists --
SELECT 1 FROM sender_numbers WHERE number_id = %s;

-- list_numbers --
SELECT n.number_id, n.tenant_id, n.provider, n.base_url, n.credential, n.messages_per_s,
       n.messages_per_minute, n.state, n.reason,
       EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id) AS stopped,
       coalesce(n.leased_until > clock_timestamp(), false) AS leased,
       CASE WHEN n.paused_until > clock_timestamp() THEN n.paused_until END AS paused_until, n.created_at,
       n.account_id, n.provider_limit
FROM sender_numbers AS n
WHERE n.number_id > %(after)s AND (%(tenant)s::text IS NULL OR n.tenant_id = %(tenant)s)
ORDER BY n.number_id
LIMIT %(limit)s;
