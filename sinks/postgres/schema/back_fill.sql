-- is_done --
SELECT col_description(attrelid, attnum) IS NOT DISTINCT FROM %(done)s AS done
FROM pg_attribute
WHERE attrelid = to_regclass('audit_log') AND attname = 'tenant_id';

-- last_entry --
SELECT coalesce(max(audit_id), 0) AS last FROM audit_log;

-- fill_audit_log --
-- By the key, whose gaps do not matter; an entry of a deployment stays without a tenant.
UPDATE audit_log SET tenant_id = coalesce(detail ->> 'tenant', CASE WHEN action LIKE 'tenant.%%' THEN subject END)
WHERE audit_id > %(after)s AND audit_id <= %(until)s AND tenant_id IS NULL
  AND (detail ? 'tenant' OR action LIKE 'tenant.%%');

-- first_entry --
SELECT coalesce(min(audit_id), 1) - 1 AS first FROM audit_log;
