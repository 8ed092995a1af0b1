-- present --
-- Tables and partitions of the schema that a rule isolates, each with the table of its rule and what is in force: a hash of
-- its policies, in which the owner has the same name everywhere, and the privileges of the tenant API: of the table, and of
-- columns. `noted`: the comment of its first policy.
SELECT c.relname::text AS name, coalesce(parent.relname, c.relname)::text AS ruled_by, c.relrowsecurity AS isolated,
       md5(concat(c.relforcerowsecurity, p.definitions)) AS policies, p.noted,
       ARRAY(
           SELECT a.privilege_type
           FROM aclexplode(c.relacl) AS a
           JOIN pg_roles AS r ON r.oid = a.grantee
           WHERE r.rolname = %(role)s
           ORDER BY 1
       ) AS grants,
       ARRAY(
           SELECT f.attname::text
           FROM pg_attribute AS f
           CROSS JOIN LATERAL aclexplode(f.attacl) AS a
           JOIN pg_roles AS r ON r.oid = a.grantee
           WHERE f.attrelid = c.oid AND r.rolname = %(role)s
           ORDER BY f.attname::text COLLATE "C"
       ) AS updates
FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
CROSS JOIN LATERAL (
    SELECT string_agg(
               concat_ws(
                   '|', p.polname, p.polcmd, p.polpermissive,
                   ARRAY(
                       SELECT CASE WHEN r.oid = c.relowner THEN '(owner)' ELSE r.rolname END
                       FROM pg_roles AS r WHERE r.oid = ANY (p.polroles) ORDER BY 1
                   ),
                   pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
               ),
               ' ' ORDER BY p.polname
           ) AS definitions,
           min(obj_description(p.oid, 'pg_policy')) AS noted
    FROM pg_policy AS p
    WHERE p.polrelid = c.oid
) AS p
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND coalesce(parent.relname, c.relname) = ANY (%(tables)s)
ORDER BY parent.relname NULLS FIRST, c.relname;

-- policies --
SELECT polname::text FROM pg_policy WHERE polrelid = to_regclass(%s) ORDER BY 1;

-- limit_lock_wait --
-- Until the end of the transaction: nobody queues for long behind a lock that is waited for.
SELECT set_config('lock_timeout', %s, true);

-- owner --
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass(%s);

-- privileges --
-- What else than the rules decides what a role may do.
SELECT r.rolsuper OR r.rolbypassrls AS unbound,
       EXISTS (
           SELECT FROM pg_class AS c
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
             AND pg_has_role(r.oid, c.relowner, 'MEMBER')
       ) AS owner,
       ARRAY(
           SELECT c.relname::text FROM pg_class AS c
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
             AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
           ORDER BY 1
       ) AS unguarded
FROM pg_roles AS r
WHERE r.rolname = current_user;
