-- record --
INSERT INTO audit_log (actor, action, subject, detail, tenant_id) VALUES (%s, %s, %s, %s::jsonb, coalesce(%s, current_tenant()));

-- newest_first --
SELECT audit_id, at, actor, action, subject, detail
FROM audit_log
WHERE (%(before)s::bigint IS NULL OR audit_id < %(before)s)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s)
ORDER BY audit_id DESC
LIMIT %(limit)s;

-- delete_old --
-- In steps, so that no transaction grows with the age of the deployment.
DELETE FROM audit_log
WHERE audit_id IN (
    SELECT audit_id FROM audit_log WHERE at < clock_timestamp() - make_interval(days => %(days)s)
    ORDER BY at LIMIT %(limit)s
);
