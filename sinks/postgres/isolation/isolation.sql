-- lacking --
-- Tables and partitions of the schema that a rule isolates, and that are not isolated yet, each with the table of its rule.
SELECT c.relname AS name, coalesce(parent.relname, c.relname) AS ruled_by
FROM pg_class AS c
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND coalesce(parent.relname, c.relname) = ANY (%(tables)s)
  AND NOT c.relrowsecurity
ORDER BY c.relname;

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
