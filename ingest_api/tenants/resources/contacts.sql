-- list_contacts --
SELECT c.contact_id, c.phone, c.name, c.email, c.seen_at,
       EXISTS (
           SELECT FROM suppressions AS s
           WHERE s.tenant_id = c.tenant_id AND s.contact_id = c.contact_id AND NOT s.lifted
       ) AS suppressed
FROM contacts AS c
WHERE c.tenant_id = %(tenant)s AND c.contact_id > %(after)s
  AND (%(contact)s::text IS NULL OR c.contact_id = %(contact)s)
ORDER BY c.contact_id
LIMIT %(limit)s;
