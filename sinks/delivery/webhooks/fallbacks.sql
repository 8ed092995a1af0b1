-- messages_with_values --
-- Of deliveries whose rows are locked: what their messages were made of, unless fallbacks had replaced it already.
SELECT d.campaign_month, d.campaign_id, d.contact_id, v.definition, d.channel, d.variables,
       p.phone, p.name, p.email
FROM unnest(%(months)s::date[], %(campaigns)s::text[], %(contacts)s::text[])
    AS wanted (campaign_month, campaign_id, contact_id)
JOIN deliveries AS d USING (campaign_month, campaign_id, contact_id)
JOIN campaign_versions AS v ON v.campaign_id = d.campaign_id AND v.version = d.campaign_version
LEFT JOIN contacts AS p ON p.tenant_id = d.tenant_id AND p.contact_id = d.contact_id
WHERE NOT d.with_fallbacks;
