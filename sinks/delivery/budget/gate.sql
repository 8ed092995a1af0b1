-- find_budgets --
-- The budget on which calls of each number depend, without a lock: most numbers have none. `reported_max`: what the
-- provider stated last for any number of the portfolio.
SELECT n.number_id, n.provider, n.messages_per_day, budget_of(n, %(sessions)s::text[]) AS budget_id,
       reported_people_max(coalesce(n.portfolio_id, n.account_id)) AS reported_max, b.uses_max, b.budget_id IS NOT NULL AS begun
FROM sender_numbers AS n
LEFT JOIN budgets AS b ON b.budget_id = budget_of(n, %(sessions)s::text[])
WHERE n.number_id = ANY (%(numbers)s::text[])
ORDER BY n.number_id;

-- number_of_budget --
-- Any of its numbers: they have the budget in common.
SELECT n.number_id, n.provider, n.messages_per_day, b.budget_id,
       reported_people_max(coalesce(n.portfolio_id, n.account_id)) AS reported_max, b.uses_max, true AS begun
FROM budgets AS b
JOIN sender_numbers AS n ON budget_of(n, %(sessions)s::text[]) = b.budget_id
WHERE b.budget_id = %(budget_id)s
ORDER BY n.number_id
LIMIT 1;

-- begin_budgets --
-- The days of a session number count from its first message: its budget is made with it.
INSERT INTO budgets (budget_id)
SELECT g.budget_id FROM unnest(%(budgets)s::text[]) AS g (budget_id) ORDER BY 1
ON CONFLICT DO NOTHING;

-- lock_budgets --
-- In the order of their ids until the transaction ends: whoever counts in one waits for whoever counts in it, in any
-- process.
SELECT b.budget_id, b.uses_max, extract(epoch FROM clock_timestamp() - b.began_at)::double precision AS age_s, b.uses,
       b.booked
FROM budgets AS b
WHERE b.budget_id = ANY (%(budgets)s::text[])
ORDER BY b.budget_id
FOR UPDATE;

-- expire_uses --
-- Only with budgets that are locked. What has left the window is not counted any more.
WITH gone AS (
    DELETE FROM budget_uses
    WHERE budget_id = ANY (%(budgets)s::text[])
      AND used_at <= statement_timestamp() - make_interval(secs => %(window_s)s)
    RETURNING budget_id, counts
)
UPDATE budgets AS b
SET uses = b.uses - g.uses
FROM (SELECT budget_id, count(*) FILTER (WHERE counts) AS uses FROM gone GROUP BY budget_id) AS g
WHERE b.budget_id = g.budget_id
RETURNING b.budget_id, b.uses;

-- read_asks --
-- A person counts once, under whichever of their ids; not at all while they may be answered: they have written to this
-- number within 24 h. `counted`: in the window already. `before`: so many are before it in the queue; few where it is due
-- at the right time.
SELECT a.position::integer, s.subject, d.priority,
       EXISTS (SELECT FROM budget_uses AS u WHERE u.budget_id = a.budget_id AND u.subject = s.subject) AS counted,
       a.by_person AND EXISTS (
           SELECT
           FROM same_person(d.tenant_id, d.contact_id) AS p (contact_id)
           JOIN inbound_people AS i ON i.tenant_id = d.tenant_id AND i.person = p.contact_id
           JOIN inbound_events AS e ON e.event_id = i.event_id
           WHERE e.number_id = a.number_id AND e.kind = ANY (%(opening)s::text[])
             AND least(e.at, e.received_at) > clock_timestamp() - make_interval(secs => %(service_window_s)s)
       ) AS answered,
       b.position IS NOT NULL AS booked,
       CASE WHEN b.position IS NULL THEN 0
            ELSE (SELECT count(*)
                  FROM budget_bookings AS o
                  WHERE o.budget_id = a.budget_id AND (-o.priority, o.position) < (-b.priority, b.position)
                    AND o.due_at > clock_timestamp() - make_interval(secs => %(claim_s)s)) END AS before
FROM unnest(%(positions)s::integer[], %(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[],
            %(numbers)s::text[], %(budgets)s::text[], %(by_person)s::boolean[], %(attempt_ids)s::uuid[])
    AS a (position, campaign_month, campaign_id, contact_id, number_id, budget_id, by_person, attempt_id)
JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
LEFT JOIN budget_bookings AS b
  ON b.campaign_month = a.campaign_month AND b.campaign_id = a.campaign_id AND b.contact_id = a.contact_id
     AND b.budget_id = a.budget_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN a.by_person
                THEN coalesce((SELECT o.contact_id FROM contact_aliases AS o
                               WHERE o.tenant_id = d.tenant_id AND o.alias = d.contact_id), d.contact_id)
                ELSE a.attempt_id::text END AS subject
) AS s
ORDER BY a.position;

-- read_expiries --
-- When some of the uses leave the window, the oldest first: seconds from now.
SELECT greatest(extract(epoch FROM u.used_at - clock_timestamp()) + %(window_s)s, 0)::double precision AS in_s
FROM budget_uses AS u
WHERE u.budget_id = %(budget_id)s AND u.counts
ORDER BY u.used_at
OFFSET %(first)s LIMIT %(count)s;

-- count_uses --
-- A subject that is used again stays in the window from now on. Its older calls stay: this one may prove to have sent
-- nothing. Of several calls to it in one mark one counts.
WITH given AS (
    SELECT g.budget_id, g.subject, g.attempt_id,
           row_number() OVER (PARTITION BY g.budget_id, g.subject ORDER BY g.attempt_id) = 1 AS counts
    FROM unnest(%(budgets)s::text[], %(subjects)s::text[], %(attempt_ids)s::uuid[])
        AS g (budget_id, subject, attempt_id)
), older AS (
    UPDATE budget_uses AS u
    SET counts = false
    FROM given AS g
    WHERE g.counts AND u.budget_id = g.budget_id AND u.subject = g.subject AND u.counts
    RETURNING u.budget_id, u.subject
), used AS (
    INSERT INTO budget_uses (attempt_id, budget_id, subject, used_at, counts)
    SELECT g.attempt_id, g.budget_id, g.subject, statement_timestamp(), g.counts
    FROM given AS g
)
UPDATE budgets AS b
SET uses = b.uses + n.uses
FROM (SELECT g.budget_id, count(*) AS uses
      FROM given AS g
      WHERE g.counts
        AND NOT EXISTS (SELECT FROM older AS o WHERE o.budget_id = g.budget_id AND o.subject = g.subject)
      GROUP BY g.budget_id) AS n
WHERE b.budget_id = n.budget_id;

-- book --
-- Deliveries that wait for a place in a budget, with the time for which they are due.
INSERT INTO budget_bookings AS o (campaign_month, campaign_id, contact_id, tenant_id, budget_id, priority, due_at)
SELECT d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, g.budget_id, d.priority,
       clock_timestamp() + make_interval(secs => g.due_in_s)
FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[], %(budgets)s::text[],
            %(due_in_s)s::double precision[])
    WITH ORDINALITY AS g (campaign_month, campaign_id, contact_id, budget_id, due_in_s, place)
JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
ORDER BY g.place
ON CONFLICT (campaign_month, campaign_id, contact_id) DO UPDATE
SET budget_id = excluded.budget_id, due_at = excluded.due_at,
    position = CASE WHEN o.budget_id = excluded.budget_id THEN o.position ELSE excluded.position END;

-- end_bookings --
DELETE FROM budget_bookings AS o
USING unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[])
    AS g (campaign_month, campaign_id, contact_id)
WHERE o.campaign_month = g.campaign_month AND o.campaign_id = g.campaign_id AND o.contact_id = g.contact_id;

-- count_booked --
-- Only with budgets that are locked: since their counts were read.
UPDATE budgets AS b
SET booked = g.booked
FROM unnest(%(budgets)s::text[], %(booked)s::jsonb[]) AS g (budget_id, booked)
WHERE b.budget_id = g.budget_id;

-- budgets_of_attempts --
-- Where calls were counted that sent nothing; locked in the order of their ids, as for a mark.
SELECT b.budget_id
FROM budgets AS b
WHERE b.budget_id IN (SELECT u.budget_id FROM budget_uses AS u WHERE u.attempt_id = ANY (%(attempt_ids)s::uuid[]))
ORDER BY b.budget_id
FOR UPDATE OF b;

-- uncount_uses --
-- A person who got nothing does not count, unless another call to them does. A session's call counts though the provider
-- rejected it: it saw the call.
WITH gone AS (
    DELETE FROM budget_uses AS u
    WHERE u.attempt_id = ANY (%(attempt_ids)s::uuid[])
      AND (u.budget_id LIKE 'portfolio:%%' OR u.attempt_id = ANY (%(not_called)s::uuid[]))
    RETURNING u.budget_id, u.subject, u.counts
), others AS (
    SELECT DISTINCT ON (u.budget_id, u.subject) u.budget_id, u.subject, u.attempt_id
    FROM gone AS g
    JOIN budget_uses AS u ON u.budget_id = g.budget_id AND u.subject = g.subject
    WHERE g.counts AND u.attempt_id <> ALL (%(attempt_ids)s::uuid[])
    ORDER BY u.budget_id, u.subject, u.used_at DESC
), counted AS (
    UPDATE budget_uses AS u
    SET counts = true
    FROM others AS o
    WHERE u.attempt_id = o.attempt_id AND u.budget_id = o.budget_id
)
UPDATE budgets AS b
SET uses = b.uses - g.uses
FROM (SELECT g.budget_id, count(*) AS uses
      FROM gone AS g
      WHERE g.counts
        AND NOT EXISTS (SELECT FROM others AS o WHERE o.budget_id = g.budget_id AND o.subject = g.subject)
      GROUP BY g.budget_id) AS g
WHERE b.budget_id = g.budget_id;
