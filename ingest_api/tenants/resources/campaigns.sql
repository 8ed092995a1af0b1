-- list_campaigns --
-- One query: the newest version of each, and whether it is stopped.
SELECT c.campaign_id, newest.version, newest.definition ->> 'name' AS name,
       CASE
           WHEN c.cancelled_at IS NOT NULL THEN 'cancelled'
           WHEN EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'campaign:' || c.campaign_id AND NOT s.by_tenant)
               THEN 'stopped'
           WHEN EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'campaign:' || c.campaign_id) THEN 'paused'
           WHEN (newest.definition ->> 'active')::boolean THEN 'active'
           ELSE 'inactive'
       END AS state,
       c.created_at
FROM campaigns AS c
CROSS JOIN LATERAL (
    SELECT v.version, v.definition FROM campaign_versions AS v
    WHERE v.campaign_id = c.campaign_id ORDER BY v.version DESC LIMIT 1
) AS newest
WHERE c.tenant_id = %(tenant)s AND c.campaign_id > %(after)s
ORDER BY c.campaign_id
LIMIT %(limit)s;

-- lock_campaign --
SELECT 1 FROM campaigns WHERE campaign_id = %(id)s AND tenant_id = %(tenant)s FOR UPDATE;

-- campaign_state --
SELECT CASE
           WHEN cancelled_at IS NOT NULL THEN 'cancelled'
           WHEN EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'campaign:' || campaign_id AND NOT s.by_tenant)
               THEN 'stopped'
           WHEN EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'campaign:' || campaign_id) THEN 'paused'
           ELSE 'running'
       END AS state
FROM campaigns
WHERE campaign_id = %(id)s AND tenant_id = %(tenant)s;
