-- suppress --
-- In the order of the key: two imports at once wait for each other instead of locking each other out.
INSERT INTO suppressions (tenant_id, contact_id, reason)
SELECT %(tenant)s, contact_id, %(reason)s
FROM (SELECT DISTINCT unnest(%(contacts)s::text[]) AS contact_id ORDER BY 1) AS given
ON CONFLICT DO NOTHING;

-- unsuppress --
DELETE FROM suppressions WHERE tenant_id = %s AND contact_id = %s;

-- list_suppressions --
-- The phone is known where the contact has handed in a completion; a suppression may be older than its contact.
SELECT s.contact_id, p.phone, s.reason, s.created_at
FROM suppressions AS s
LEFT JOIN contacts AS p USING (tenant_id, contact_id)
WHERE s.tenant_id = %(tenant)s AND s.contact_id > %(after)s
ORDER BY s.contact_id
LIMIT %(limit)s;

-- some_contact --
SELECT contact_id, phone FROM contacts WHERE tenant_id = %s AND phone IS NOT NULL LIMIT 1;
