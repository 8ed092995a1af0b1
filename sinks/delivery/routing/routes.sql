-- route_unrouted --
-- Deliveries that wait and have no route: the sink found no number for them, or they wait again after a lease or a call.
-- Only of tenants that have a number for them, so that those without one are in nobody's way.
WITH numbers AS MATERIALIZED (
    SELECT t.tenant_id AS for_tenant, n.*
    FROM tenants AS t
    JOIN routable_numbers(%(patience_s)s) AS n ON n.tenant_id = number_pool(t.tenant_id)
), held AS (
    SELECT d.*
    FROM (SELECT DISTINCT for_tenant FROM numbers) AS t
    CROSS JOIN LATERAL (
        SELECT d.campaign_month, d.campaign_id, d.contact_id, d.tenant_id, d.campaign_version, d.channel, d.refused_by
        FROM deliveries AS d
        WHERE d.tenant_id = t.for_tenant AND d.route IS NULL AND d.state = 'waiting'
          AND EXISTS (SELECT FROM numbers AS n
                      WHERE n.for_tenant = t.for_tenant AND n.channel = d.channel
                        AND n.provider <> ALL (d.refused_by))
        LIMIT %(limit)s
        FOR UPDATE OF d SKIP LOCKED
    ) AS d
), chosen AS (
    SELECT h.campaign_month, h.campaign_id, h.contact_id, r.number_id
    FROM held AS h
    LEFT JOIN campaign_versions AS v ON v.campaign_id = h.campaign_id AND v.version = h.campaign_version
    LEFT JOIN contacts AS c ON c.tenant_id = h.tenant_id AND c.contact_id = h.contact_id
    CROSS JOIN LATERAL (
        SELECT n.number_id
        FROM numbers AS n
        WHERE n.for_tenant = h.tenant_id AND n.channel = h.channel AND n.provider <> ALL (h.refused_by)
        ORDER BY coalesce(v.definition -> 'message' ->> 'kind' = ANY (n.kinds), true) DESC, n.usable DESC,
                 n.open_since <= coalesce(c.known_since, 'infinity') DESC,
                 route_rank(h.contact_id, n.number_id, n.weight), n.number_id
        LIMIT 1
    ) AS r
)
UPDATE deliveries AS d
SET route = c.number_id
FROM chosen AS c
WHERE d.campaign_month = c.campaign_month AND d.campaign_id = c.campaign_id AND d.contact_id = c.contact_id
RETURNING NULL::text AS before, d.route AS number_id;

-- changed_pools --
-- Pools of numbers that differ from what their waiting deliveries were routed under, and (not `is_new`) those of which
-- the deliveries of numbers that cannot send are to be looked at once more.
SELECT p.tenant_id, p.under, p.usable, r.routed_under IS DISTINCT FROM p.under AS is_new
FROM (
    SELECT n.tenant_id,
           md5(string_agg(concat_ws(' ', n.number_id, n.provider, n.channel, n.kinds::text, n.weight,
                                    extract(epoch FROM n.open_since), n.usable), ',' ORDER BY n.number_id)) AS under,
           coalesce(array_agg(n.number_id ORDER BY n.number_id) FILTER (WHERE n.usable), '{}') AS usable
    FROM routable_numbers(%(patience_s)s) AS n
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
-- Of these deliveries those that wait and have another number by now. One that is leased or called keeps its own: this
-- statement looks at its state again once it holds the row.
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
    SELECT a.campaign_month, a.campaign_id, a.contact_id, r.number_id
    FROM asked AS a
    LEFT JOIN campaign AS v ON v.campaign_id = a.campaign_id AND v.version = a.campaign_version
    LEFT JOIN contacts AS c ON c.tenant_id = a.tenant_id AND c.contact_id = a.contact_id
    CROSS JOIN LATERAL (
        SELECT n.number_id
        FROM numbers AS n
        WHERE n.for_tenant = a.tenant_id AND n.channel = a.channel AND n.provider <> ALL (a.refused_by)
        ORDER BY coalesce(v.kind = ANY (n.kinds), true) DESC, n.usable DESC,
                 n.open_since <= coalesce(c.known_since, 'infinity') DESC,
                 route_rank(a.contact_id, n.number_id, n.weight), n.number_id
        LIMIT 1
    ) AS r
    WHERE r.number_id IS DISTINCT FROM a.route
), held AS (
    SELECT d.campaign_month, d.campaign_id, d.contact_id, c.number_id, d.route AS before
    FROM chosen AS c
    JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
    WHERE d.state = 'waiting'
    ORDER BY d.campaign_month, d.campaign_id, d.contact_id
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries AS d
SET route = h.number_id
FROM held AS h
WHERE d.campaign_month = h.campaign_month AND d.campaign_id = h.campaign_id AND d.contact_id = h.contact_id
RETURNING h.before, d.route AS number_id;

-- keep_pool --
INSERT INTO routed_pools AS r (tenant_id, routed_under, look_at)
VALUES (%(pool)s, %(under)s, clock_timestamp() + make_interval(secs => (%(looks_after_s)s::float8[])[1]))
ON CONFLICT (tenant_id) DO UPDATE
SET routed_under = excluded.routed_under,
    looks = CASE WHEN r.routed_under = excluded.routed_under THEN r.looks + 1 ELSE 1 END,
    look_at = CASE WHEN r.routed_under = excluded.routed_under
                   THEN clock_timestamp() + make_interval(secs => (%(looks_after_s)s::float8[])[r.looks + 1])
                   ELSE excluded.look_at END;
