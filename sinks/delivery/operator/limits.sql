-- number_standing --
SELECT n.number_id, n.provider, budget_of(n, %(sessions)s::text[]) AS budget_id, n.portfolio_id, n.account_id,
       reported_people_max(coalesce(n.portfolio_id, n.account_id)) AS reported_max, b.uses_max
FROM sender_numbers AS n
LEFT JOIN budgets AS b ON b.budget_id = budget_of(n, %(sessions)s::text[])
WHERE n.number_id = %(number_id)s;

-- hold_budget --
-- Makes it if it is not there; locked until the transaction ends.
INSERT INTO budgets (budget_id) VALUES (%(budget_id)s)
ON CONFLICT (budget_id) DO UPDATE SET budget_id = excluded.budget_id;

-- set_limit --
UPDATE budgets SET uses_max = %(uses_max)s WHERE budget_id = %(budget_id)s;

-- set_day --
-- The number is on this day of its growing limit, the first being 1.
UPDATE budgets SET began_at = clock_timestamp() - make_interval(days => %(day)s - 1) WHERE budget_id = %(budget_id)s;

-- set_portfolio --
UPDATE sender_numbers SET portfolio_id = %(portfolio_id)s WHERE number_id = %(number_id)s;

-- count_past --
-- Of a portfolio that had no limit, nobody was counted: the calls of the window are. Free replies count too here.
INSERT INTO budget_uses (attempt_id, budget_id, subject, used_at, counts)
SELECT a.attempt_id, %(budget_id)s, coalesce(o.contact_id, d.contact_id), a.called_at, false
FROM delivery_attempts AS a
JOIN deliveries AS d ON d.delivery_id = a.delivery_id
LEFT JOIN contact_aliases AS o ON o.tenant_id = d.tenant_id AND o.alias = d.contact_id
WHERE a.called_at > clock_timestamp() - make_interval(secs => %(window_s)s)
  AND (a.outcome IS NULL OR a.outcome NOT IN ('rejected', 'not_sent', 'resolved_not_sent', 'taken_back'))
  AND a.number_id IN (SELECT n.number_id FROM sender_numbers AS n
                      WHERE budget_of(n, %(sessions)s::text[]) = %(budget_id)s)
ON CONFLICT DO NOTHING;

-- count_newest --
-- Of each subject.
UPDATE budget_uses AS u
SET counts = n.counts
FROM (SELECT attempt_id, row_number() OVER (PARTITION BY subject ORDER BY used_at DESC, attempt_id) = 1 AS counts
      FROM budget_uses
      WHERE budget_id = %(budget_id)s) AS n
WHERE u.budget_id = %(budget_id)s AND u.attempt_id = n.attempt_id AND u.counts <> n.counts;

-- recount_uses --
UPDATE budgets AS b
SET uses = (SELECT count(*) FROM budget_uses AS u WHERE u.budget_id = b.budget_id AND u.counts)
WHERE b.budget_id = %(budget_id)s;
