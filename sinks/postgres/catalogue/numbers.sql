-- save_number --
-- What its sender keeps here (lease, state) is not the operator's to change by saving, nor is its weight. A new one has
-- the weight of its pace; none where the tenant's numbers of the channel have weights that an operator gave them. One that
-- moves to another tenant or channel is a new one there, and its lease ends: what was leased for it is not sent from it.
INSERT INTO sender_numbers (
    number_id, tenant_id, provider, base_url, credential, messages_per_s, messages_per_minute,
    messages_per_day, coexistence, channel, kinds, weight, weighted, open_since
)
SELECT %(number)s, %(tenant)s, %(provider)s, %(base_url)s, %(credential)s, %(messages_per_s)s,
       %(messages_per_minute)s, %(messages_per_day)s, %(coexistence)s, %(channel)s, %(kinds)s::text[],
       CASE WHEN others.weighted THEN 0 ELSE %(weight)s END, others.weighted, clock_timestamp()
FROM (SELECT coalesce(bool_or(n.weighted), false) AS weighted
      FROM sender_numbers AS n
      WHERE n.tenant_id = %(tenant)s AND n.channel = %(channel)s) AS others
ON CONFLICT (number_id) DO UPDATE
SET tenant_id = excluded.tenant_id, provider = excluded.provider, base_url = excluded.base_url,
    credential = excluded.credential, messages_per_s = excluded.messages_per_s,
    messages_per_minute = excluded.messages_per_minute, messages_per_day = excluded.messages_per_day,
    coexistence = excluded.coexistence, channel = excluded.channel, kinds = excluded.kinds,
    (weight, weighted, open_since, leased_until) = (
        SELECT m.weight, m.weighted, m.open_since, m.leased_until
        FROM (VALUES (true, excluded.weight, excluded.weighted, excluded.open_since,
                      least(sender_numbers.leased_until, clock_timestamp())),
                     (false, sender_numbers.weight, sender_numbers.weighted, sender_numbers.open_since,
                      sender_numbers.leased_until))
            AS m (moves, weight, weighted, open_since, leased_until)
        WHERE m.moves = ((sender_numbers.tenant_id, sender_numbers.channel)
                         IS DISTINCT FROM (excluded.tenant_id, excluded.channel)))
WHERE (sender_numbers.tenant_id, sender_numbers.provider, sender_numbers.base_url,
       sender_numbers.credential, sender_numbers.messages_per_s, sender_numbers.messages_per_minute,
       sender_numbers.messages_per_day, sender_numbers.coexistence, sender_numbers.channel, sender_numbers.kinds)
    IS DISTINCT FROM
      (excluded.tenant_id, excluded.provider, excluded.base_url, excluded.credential, excluded.messages_per_s,
       excluded.messages_per_minute, excluded.messages_per_day, excluded.coexistence, excluded.channel, excluded.kinds);

-- number_exists --
SELECT 1 FROM sender_numbers WHERE number_id = %s;

-- number_of_tenant --
SELECT 1 FROM sender_numbers WHERE number_id = %s AND tenant_id = %s;

-- list_numbers --
SELECT n.number_id, n.tenant_id, n.provider, n.base_url, n.credential, n.messages_per_s,
       n.messages_per_minute, n.state, n.reason,
       EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id) AS stopped,
       coalesce(n.leased_until > clock_timestamp(), false) AS leased,
       CASE WHEN n.paused_until > clock_timestamp() THEN n.paused_until END AS paused_until, n.created_at,
       n.account_id, n.provider_limit, n.channel, n.weight,
       coalesce(100.0 * n.weight / nullif((SELECT sum(o.weight) FROM sender_numbers AS o
                                           WHERE o.tenant_id = n.tenant_id AND o.channel = n.channel), 0), 0)
           ::double precision AS share_percent,
       n.portfolio_id, n.people_max, n.messages_per_day, n.coexistence
FROM sender_numbers AS n
WHERE n.number_id > %(after)s AND (%(tenant)s::text IS NULL OR n.tenant_id = %(tenant)s)
ORDER BY n.number_id
LIMIT %(limit)s;

-- get_number --
SELECT n.number_id, n.tenant_id, n.provider, n.base_url, n.credential, n.messages_per_s,
       n.messages_per_minute, n.state, n.reason,
       EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id) AS stopped,
       coalesce(n.leased_until > clock_timestamp(), false) AS leased,
       CASE WHEN n.paused_until > clock_timestamp() THEN n.paused_until END AS paused_until, n.created_at,
       n.account_id, n.provider_limit, n.channel, n.weight,
       coalesce(100.0 * n.weight / nullif((SELECT sum(o.weight) FROM sender_numbers AS o
                                           WHERE o.tenant_id = n.tenant_id AND o.channel = n.channel), 0), 0)
           ::double precision AS share_percent,
       n.portfolio_id, n.people_max, n.messages_per_day, n.coexistence
FROM sender_numbers AS n
WHERE n.number_id = %(number_id)s;

-- save_credential --
UPDATE sender_numbers SET credential = %(credential)s
WHERE number_id = %(number_id)s AND credential <> %(credential)s;
