-- find_elsewhere --
-- Of deliveries that are about to end: where each may go instead. `scope` provider: first to another provider of its
-- channel. Then to the next channel of its campaign for which the contact has an address and the tenant a number.
-- OFFSET 0: a probe of the key for each of them.
SELECT d.campaign_month, d.campaign_id, d.contact_id, e.channel, e.refused
FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[], %(scopes)s::text[])
    AS a (campaign_month, campaign_id, contact_id, scope)
CROSS JOIN LATERAL (
    SELECT d.*
    FROM deliveries AS d
    WHERE d.campaign_month = a.campaign_month AND d.campaign_id = a.campaign_id AND d.contact_id = a.contact_id
    OFFSET 0
) AS d
JOIN campaign_versions AS v ON v.campaign_id = d.campaign_id AND v.version = d.campaign_version
JOIN contacts AS c ON c.tenant_id = d.tenant_id AND c.contact_id = d.contact_id
LEFT JOIN delivery_attempts AS t ON t.attempt_id = d.attempt_id
CROSS JOIN LATERAL (
    SELECT o.channel, o.refused
    FROM (
        SELECT 0 AS place, d.channel, t.provider AS refused
        WHERE a.scope = 'provider' AND t.provider IS NOT NULL
        UNION ALL
        SELECT s.place, s.step ->> 'channel', NULL
        FROM jsonb_array_elements(v.definition -> 'next_channels') WITH ORDINALITY AS s (step, place)
        WHERE s.place > coalesce((
            SELECT max(b.place)
            FROM jsonb_array_elements(v.definition -> 'next_channels') WITH ORDINALITY AS b (step, place)
            WHERE b.step ->> 'channel' = d.channel), 0)
    ) AS o
    WHERE CASE o.channel WHEN 'email' THEN c.email IS NOT NULL ELSE c.phone IS NOT NULL END
      AND EXISTS (SELECT FROM sender_numbers AS n
                  WHERE n.tenant_id = number_pool(d.tenant_id) AND n.channel = o.channel AND n.weight > 0
                    AND (o.refused IS NULL
                         OR n.provider <> ALL (d.refused_by || o.refused)
                            AND coalesce(v.definition -> 'message' ->> 'kind' = ANY (n.kinds), true)))
    ORDER BY o.place
    LIMIT 1
) AS e;
