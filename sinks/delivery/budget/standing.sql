-- list_budgets --
-- Every budget, with the numbers that spend it. `reported_max`: what the provider stated last for any of them.
SELECT b.budget_id, n.provider, n.numbers, n.messages_per_day, n.reported_max, b.uses_max,
       extract(epoch FROM clock_timestamp() - b.began_at)::double precision AS age_s,
       (SELECT count(*) FROM budget_uses AS u
        WHERE u.budget_id = b.budget_id AND u.counts
          AND u.used_at > clock_timestamp() - make_interval(secs => %(window_s)s)) AS used
FROM (
    SELECT budget_of(n, %(sessions)s::text[]) AS budget_id, min(n.provider) AS provider,
           array_agg(n.number_id ORDER BY n.number_id) AS numbers, min(n.messages_per_day) AS messages_per_day,
           reported_people_max(min(coalesce(n.portfolio_id, n.account_id))) AS reported_max
    FROM sender_numbers AS n
    GROUP BY 1
) AS n
JOIN budgets AS b ON b.budget_id = n.budget_id
ORDER BY b.budget_id;

-- waiting_by_route --
SELECT tenant_id, route, count(*) AS waiting FROM deliveries WHERE state = 'waiting' GROUP BY tenant_id, route;

-- numbers_of_tenants --
-- A tenant with numbers of its own is written to from them alone; '*' numbers serve the others.
SELECT t.tenant_id, n.number_id, budget_of(n, %(sessions)s::text[]) AS budget_id
FROM tenants AS t
JOIN sender_numbers AS n
  ON n.tenant_id = t.tenant_id
     OR (n.tenant_id = '*' AND NOT EXISTS (SELECT FROM sender_numbers AS o WHERE o.tenant_id = t.tenant_id))
WHERE n.state = 'active';

-- nth_expiries --
-- When one use of each budget leaves the window, counted from the oldest: seconds from now.
SELECT u.budget_id,
       greatest(extract(epoch FROM u.used_at - clock_timestamp()) + %(window_s)s, 0)::double precision AS in_s
FROM (
    SELECT o.budget_id, o.used_at, row_number() OVER (PARTITION BY o.budget_id ORDER BY o.used_at) - 1 AS nth
    FROM budget_uses AS o
    WHERE o.budget_id = ANY (%(budgets)s::text[]) AND o.counts
      AND o.used_at > clock_timestamp() - make_interval(secs => %(window_s)s)
) AS u
JOIN unnest(%(budgets)s::text[], %(nths)s::integer[]) AS a (budget_id, nth) USING (budget_id, nth);
