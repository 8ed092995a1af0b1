-- delivery_standing --
-- Everything that keeps one delivery from being called now. `ahead`: due deliveries of its tenant with its
-- number that come before it.
SELECT d.state, d.reason, d.due_at, d.due_at > now() AS early, d.tenant_id, d.campaign_id, now() AS as_of,
       EXISTS (SELECT FROM campaigns AS c
               WHERE c.campaign_id = d.campaign_id AND c.cancelled_at IS NOT NULL) AS cancelled,
       EXISTS (SELECT FROM same_person(d.tenant_id, d.contact_id) AS p (contact_id)
               JOIN suppressions AS s ON s.tenant_id = d.tenant_id AND s.contact_id = p.contact_id
               WHERE NOT s.lifted) AS suppressed,
       (SELECT count(*)
        FROM (SELECT FROM deliveries AS o
              WHERE o.tenant_id = d.tenant_id AND o.route IS NOT DISTINCT FROM d.route
                AND o.state = 'waiting' AND o.due_at <= now()
                AND (o.priority > d.priority
                     OR (o.priority = d.priority AND (o.due_at, o.created_at) < (d.due_at, d.created_at)))
              LIMIT %(counted_max)s) AS o) AS ahead, d.route
FROM deliveries AS d
WHERE d.delivery_id = %(delivery)s;

-- numbers_of_tenant --
-- A tenant with numbers of its own is written to from them alone; '*' numbers serve the others.
SELECT n.number_id, n.state, n.reason,
       EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id) AS stopped,
       EXISTS (SELECT FROM sender_processes AS p
               WHERE p.alive_until > clock_timestamp()
                 AND n.provider = ANY (p.providers) AND n.credential = ANY (p.credentials)) AS served,
       CASE WHEN n.paused_until > clock_timestamp() THEN n.paused_until END AS paused_until
FROM sender_numbers AS n
WHERE n.tenant_id = %(tenant)s
   OR (n.tenant_id = '*' AND NOT EXISTS (SELECT FROM sender_numbers AS o WHERE o.tenant_id = %(tenant)s))
ORDER BY n.number_id;
