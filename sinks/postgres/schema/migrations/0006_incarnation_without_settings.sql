-- The text of a timestamp depends on the session's time zone and date style: a publisher in UTC and a sender in a
-- database of another zone named two incarnations, and the permit never counted. Seconds since the epoch do not.
CREATE OR REPLACE FUNCTION ledger_incarnation() RETURNS text LANGUAGE sql STABLE
    RETURN extract(epoch FROM pg_postmaster_start_time())::text || ' ' || to_regclass('deliveries')::oid::text;
