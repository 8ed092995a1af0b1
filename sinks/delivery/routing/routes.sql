-- route_unrouted --
-- Deliveries that wait and have no route: the sink found no number for them, or they wait again after a lease or a call.
-- `kinds`: a probe of the index for each combination that occurs, however many deliveries have it. Only those for which
-- there is a number are read, so that deliveries without one delay no other. A delivery that waited for a place in the
-- budget of another number leaves that queue.
WITH RECURSIVE kinds AS (
    (SELECT d.tenant_id, d.channel, d.refused_by
     FROM deliveries AS d
     WHERE d.route IS NULL AND d.state = 'waiting'
     ORDER BY d.tenant_id, d.channel, d.refused_by
     LIMIT 1)
    UNION ALL
    SELECT n.tenant_id, n.channel, n.refused_by
    FROM kinds AS k
    CROSS JOIN LATERAL (
        SELECT d.tenant_id, d.channel, d.refused_by
        FROM deliveries AS d
        WHERE d.route IS NULL AND d.state = 'waiting'
          AND (d.tenant_id, d.channel, d.refused_by) > (k.tenant_id, k.channel, k.refused_by)
        ORDER BY d.tenant_id, d.channel, d.refused_by
        LIMIT 1
    ) AS n
), numbers AS MATERIALIZED (
    SELECT t.tenant_id AS for_tenant, n.*
    FROM (SELECT DISTINCT tenant_id FROM kinds) AS t
    JOIN routable_numbers(%(patience_s)s) AS n ON n.tenant_id = number_pool(t.tenant_id)
), held AS (
    SELECT d.*
    FROM kinds AS k
    CROSS JOIN LATERAL (
        SELECT d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, d.campaign_version, d.channel, d.refused_by
        FROM deliveries AS d
        WHERE d.tenant_id = k.tenant_id AND d.channel = k.channel AND d.refused_by = k.refused_by
          AND d.route IS NULL AND d.state = 'waiting'
        ORDER BY d.created_at
        LIMIT %(limit)s
        FOR UPDATE OF d SKIP LOCKED
    ) AS d
    WHERE EXISTS (SELECT FROM numbers AS n
                  WHERE n.for_tenant = k.tenant_id AND n.channel = k.channel AND n.provider <> ALL (k.refused_by))
    LIMIT %(limit)s
), chosen AS (
    SELECT h.campaign_month, h.campaign_id, h.contact_id, r.number_id
    FROM held AS h
    LEFT JOIN campaign_versions AS v ON v.campaign_id = h.campaign_id AND v.version = h.campaign_version
    LEFT JOIN contacts AS c ON c.tenant_id = h.tenant_id AND c.contact_id = h.contact_id
    CROSS JOIN LATERAL (
        SELECT n.number_id
        FROM numbers AS n
        WHERE n.for_tenant = h.tenant_id AND n.channel = h.channel AND n.provider <> ALL (h.refused_by)
        ORDER BY route_order(v.definition -> 'message' ->> 'kind', h.contact_id, c.known_since, n.number_id, n.weight,
                             n.kinds, n.usable, n.open_since), n.number_id
        LIMIT 1
    ) AS r
), freed AS (
    DELETE FROM budget_bookings AS b
    USING chosen AS c
    LEFT JOIN sender_numbers AS n ON n.number_id = c.number_id
    WHERE b.campaign_month = c.campaign_month AND b.campaign_id = c.campaign_id AND b.contact_id = c.contact_id
      AND b.budget_id IS DISTINCT FROM budget_of(n, %(sessions)s::text[])
    RETURNING b.campaign_month, b.campaign_id, b.contact_id
)
UPDATE deliveries AS d
SET route = c.number_id,
    due_at = CASE WHEN f.contact_id IS NULL THEN d.due_at ELSE least(d.due_at, clock_timestamp()) END
FROM chosen AS c
LEFT JOIN freed AS f USING (campaign_month, campaign_id, contact_id)
WHERE d.campaign_month = c.campaign_month AND d.campaign_id = c.campaign_id AND d.contact_id = c.contact_id
RETURNING NULL::text AS before, d.route AS number_id;

-- changed_pools --
-- Pools of numbers that differ from what their waiting deliveries were routed under, and (not `is_new`) those of which
-- the deliveries of numbers that cannot send are to be looked at once more. That of '*' changes with the tenants that have
-- numbers of their own: all others send from it.
SELECT p.tenant_id, p.under, p.usable, r.routed_under IS DISTINCT FROM p.under AS is_new
FROM (
    SELECT n.tenant_id,
           md5(string_agg(concat_ws(' ', n.number_id, n.provider, n.channel, n.kinds::text, n.weight,
                                    extract(epoch FROM n.open_since), n.usable, budget_of(s, %(sessions)s::text[])),
                          ',' ORDER BY n.number_id)
               || CASE WHEN n.tenant_id = '*'
                       THEN (SELECT coalesce(string_agg(DISTINCT o.tenant_id, ','), '')
                             FROM sender_numbers AS o WHERE o.tenant_id <> '*')
                       ELSE '' END) AS under,
           coalesce(array_agg(n.number_id ORDER BY n.number_id) FILTER (WHERE n.usable), '{}') AS usable
    FROM routable_numbers(%(patience_s)s) AS n
    JOIN sender_numbers AS s ON s.number_id = n.number_id
    GROUP BY n.tenant_id
) AS p
LEFT JOIN routed_pools AS r USING (tenant_id)
WHERE r.routed_under IS DISTINCT FROM p.under OR r.look_at <= clock_timestamp()
ORDER BY p.tenant_id;

-- take_pool --
-- One process at a time routes a pool again; the lock ends with the transaction, however that ends.
SELECT pg_try_advisory_xact_lock(%(lock)s, hashtext(%(pool)s));

-- waiting_of_pool --
-- `on_usable` false: only those whose number cannot send. Read once, in batches, while others change the table.
SELECT d.campaign_month, d.campaign_id, d.contact_id
FROM deliveries AS d
WHERE d.tenant_id = ANY (ARRAY(SELECT t.tenant_id FROM tenants AS t WHERE number_pool(t.tenant_id) = %(pool)s))
  AND d.state = 'waiting'
  AND d.route IS NOT NULL
  AND (d.route = ANY (%(usable)s::text[])) = %(on_usable)s;

-- route_again --
-- Of these deliveries those that wait and have another number by now, or none any more. One that is leased or called keeps
-- its own, and so does one that has changed in the meantime: the row is compared again once it is held. A delivery whose
-- number has another budget by now waits for the former one no more.
WITH asked AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, d.campaign_version, d.channel, d.refused_by, d.route
    FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[])
        AS a (campaign_month, campaign_id, contact_id)
    JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'waiting'
), numbers AS MATERIALIZED (
    SELECT t.tenant_id AS for_tenant, n.*
    FROM (SELECT DISTINCT tenant_id FROM asked) AS t
    JOIN routable_numbers(%(patience_s)s) AS n ON n.tenant_id = number_pool(t.tenant_id)
), campaign AS MATERIALIZED (
    SELECT v.campaign_id, v.version, v.definition -> 'message' ->> 'kind' AS kind
    FROM (SELECT DISTINCT campaign_id, campaign_version FROM asked) AS a
    JOIN campaign_versions AS v ON v.campaign_id = a.campaign_id AND v.version = a.campaign_version
), chosen AS MATERIALIZED (
    SELECT a.campaign_month, a.campaign_id, a.contact_id, a.channel, a.refused_by, a.route, r.number_id,
           b.budget_id IS NOT NULL AND b.budget_id IS DISTINCT FROM budget_of(s, %(sessions)s::text[]) AS freed
    FROM asked AS a
    LEFT JOIN campaign AS v ON v.campaign_id = a.campaign_id AND v.version = a.campaign_version
    LEFT JOIN contacts AS c ON c.tenant_id = a.tenant_id AND c.contact_id = a.contact_id
    LEFT JOIN budget_bookings AS b
      ON b.campaign_month = a.campaign_month AND b.campaign_id = a.campaign_id AND b.contact_id = a.contact_id
    LEFT JOIN LATERAL (
        SELECT n.number_id
        FROM numbers AS n
        WHERE n.for_tenant = a.tenant_id AND n.channel = a.channel AND n.provider <> ALL (a.refused_by)
        ORDER BY route_order(v.kind, a.contact_id, c.known_since, n.number_id, n.weight, n.kinds, n.usable,
                             n.open_since), n.number_id
        LIMIT 1
    ) AS r ON true
    LEFT JOIN sender_numbers AS s ON s.number_id = r.number_id
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, c.number_id, c.freed, d.route AS before
    FROM chosen AS c
    JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'waiting'
      AND (c.number_id IS DISTINCT FROM c.route OR c.freed)
      AND d.route IS NOT DISTINCT FROM c.route AND d.channel = c.channel AND d.refused_by = c.refused_by
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d SKIP LOCKED
), ended AS (
    DELETE FROM budget_bookings AS b
    USING held AS h
    WHERE h.freed
      AND b.campaign_month = h.campaign_month AND b.campaign_id = h.campaign_id AND b.contact_id = h.contact_id
)
UPDATE deliveries AS d
SET route = h.number_id, due_at = CASE WHEN h.freed THEN least(d.due_at, clock_timestamp()) ELSE d.due_at END
FROM held AS h
WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
RETURNING CASE WHEN d.route IS DISTINCT FROM h.before THEN h.before END AS before, d.route AS number_id;

-- keep_pool --
INSERT INTO routed_pools AS r (tenant_id, routed_under, look_at)
VALUES (%(pool)s, %(under)s, clock_timestamp() + make_interval(secs => (%(looks_after_s)s::float8[])[1]))
ON CONFLICT (tenant_id) DO UPDATE
SET routed_under = excluded.routed_under,
    looks = CASE WHEN r.routed_under = excluded.routed_under THEN r.looks + 1 ELSE 1 END,
    look_at = CASE WHEN r.routed_under = excluded.routed_under
                   THEN clock_timestamp() + make_interval(secs => (%(looks_after_s)s::float8[])[r.looks + 1])
                   ELSE excluded.look_at END;
