-- Isolates tenants in the database itself. Policies and grants of each table are in sinks/postgres/isolation: `migrate` applies
-- them table by table after this migration, so that no transaction locks more than one table.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

-- Of the whole server: a second database may have made it already. It cannot log in before `prepare` has given it a password.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'quizstream_tenants') THEN
        CREATE ROLE quizstream_tenants NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- made at the same moment
END
$$;

-- The tenant of this transaction; without one no row is equal to it.
CREATE FUNCTION current_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('quizstream.tenant', true), '');

-- Whose change an event is; none for those of operators and of the stream. The publisher compares it with the event.
-- `set_aside_at`: since when it waits for an operator, as an event that is larger than its topic takes.
ALTER TABLE outbox ADD COLUMN tenant_id text DEFAULT current_tenant(), ADD COLUMN set_aside_at timestamptz;

-- Gives a new partition the row-level security of its table, without grants: it is reached through its table alone.
CREATE FUNCTION isolate_partition(partition regclass, parent regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rule record;
    table_is record;
BEGIN
    SELECT relrowsecurity, relforcerowsecurity INTO table_is FROM pg_class WHERE oid = parent;
    IF NOT table_is.relrowsecurity THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', partition);
    IF table_is.relforcerowsecurity THEN
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', partition);
    END IF;
    FOR rule IN
        SELECT p.polname, p.polpermissive, p.polcmd, ARRAY(SELECT quote_ident(rolname) FROM pg_roles WHERE oid = ANY (p.polroles)) AS roles,
               pg_get_expr(p.polqual, p.polrelid) AS seen, pg_get_expr(p.polwithcheck, p.polrelid) AS written
        FROM pg_policy AS p
        WHERE p.polrelid = parent
    LOOP
        EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s %s %s', rule.polname, partition,
                       CASE WHEN rule.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                       CASE rule.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                                        WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                       array_to_string(rule.roles, ', '),
                       'USING (' || rule.seen || ')', 'WITH CHECK (' || rule.written || ')');
    END LOOP;
END
$$;
