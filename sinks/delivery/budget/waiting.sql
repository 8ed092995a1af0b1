-- queues --
-- Budgets for which deliveries wait, or are counted as waiting.
SELECT b.budget_id
FROM budgets AS b
WHERE b.booked <> '{}' OR EXISTS (SELECT FROM budget_bookings AS o WHERE o.budget_id = b.budget_id)
ORDER BY b.budget_id;

-- take_queue --
-- Of several processes one gets it in the time of a round.
UPDATE budgets
SET looked_at = clock_timestamp()
WHERE budget_id = %(budget_id)s
  AND coalesce(looked_at <= clock_timestamp() - make_interval(secs => %(again_after_s)s), true);

-- release --
-- Of a budget without a limit: who waited for it is due at once.
WITH gone AS (
    SELECT o.campaign_month, o.campaign_id, o.contact_id
    FROM budget_bookings AS o
    WHERE o.budget_id = %(budget_id)s
    ORDER BY o.due_at
    LIMIT %(limit)s
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id
    FROM deliveries AS d
    JOIN gone AS g USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'waiting'
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d
), due AS (
    UPDATE deliveries AS d
    SET due_at = least(d.due_at, clock_timestamp())
    FROM held AS h
    WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
)
DELETE FROM budget_bookings AS o
USING gone AS g
WHERE o.campaign_month = g.campaign_month AND o.campaign_id = g.campaign_id AND o.contact_id = g.contact_id;

-- end_passed --
-- Of deliveries that do not wait any more.
DELETE FROM budget_bookings AS o
WHERE (o.campaign_month, o.campaign_id, o.contact_id) IN (
    SELECT o.campaign_month, o.campaign_id, o.contact_id
    FROM budget_bookings AS o
    WHERE o.budget_id = %(budget_id)s AND o.due_at < clock_timestamp() - make_interval(secs => %(claim_s)s)
      AND NOT EXISTS (SELECT FROM deliveries AS d
                      WHERE d.campaign_month = o.campaign_month AND d.campaign_id = o.campaign_id
                        AND d.contact_id = o.contact_id AND d.state IN ('waiting', 'leased'))
    LIMIT %(limit)s
);

-- recount --
-- One that is due for long and was not called has no reservation any more: its campaign or its number is stopped.
UPDATE budgets AS b
SET uses = (SELECT count(*) FROM budget_uses AS u WHERE u.budget_id = b.budget_id AND u.counts),
    booked = (SELECT coalesce(jsonb_object_agg(q.priority, q.waiting), '{}')
              FROM (SELECT o.priority, count(*) AS waiting
                    FROM budget_bookings AS o
                    WHERE o.budget_id = b.budget_id
                      AND o.due_at > clock_timestamp() - make_interval(secs => %(claim_s)s)
                    GROUP BY o.priority) AS q)
WHERE b.budget_id = %(budget_id)s
RETURNING b.uses,
          (SELECT count(*) FROM budget_bookings AS o
           WHERE o.budget_id = b.budget_id AND o.due_at <= clock_timestamp()
             AND o.due_at > clock_timestamp() - make_interval(secs => %(claim_s)s)) AS due;

-- move_up --
-- The first of the queue become due now: there are more places than were expected. Those that are stopped stay.
WITH first AS (
    SELECT o.campaign_month, o.campaign_id, o.contact_id
    FROM budget_bookings AS o
    WHERE o.budget_id = %(budget_id)s AND o.due_at > clock_timestamp()
      AND NOT EXISTS (SELECT FROM sending_stops AS s
                      WHERE s.scope IN ('global', 'recovery', 'tenant:' || o.tenant_id, 'campaign:' || o.campaign_id))
    ORDER BY -o.priority, o.position
    LIMIT %(places)s
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id
    FROM deliveries AS d
    JOIN first AS f USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'waiting'
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d
), moved AS (
    UPDATE deliveries AS d
    SET due_at = clock_timestamp()
    FROM held AS h
    WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
)
UPDATE budget_bookings AS o
SET due_at = clock_timestamp()
FROM first AS f
WHERE o.campaign_month = f.campaign_month AND o.campaign_id = f.campaign_id AND o.contact_id = f.contact_id;
