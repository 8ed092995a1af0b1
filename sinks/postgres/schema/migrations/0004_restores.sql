-- A ledger that comes back from an older copy must not send what the copy does not know was sent. The history of
-- every delivery is in the topic of delivery events, published before any call it allows.

-- What the publisher of the outbox knows to be in that topic: all that lies further is newer than these tables.
CREATE TABLE outbox_positions (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- Without a row sending is free: no publisher has ever looked after this database. With one, only while it is
-- renewed, and only in the server and the tables it was granted for: a restored copy holds none that counts.
CREATE TABLE sending_permit (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    granted_until timestamptz NOT NULL,
    incarnation   text NOT NULL
);

CREATE FUNCTION ledger_incarnation() RETURNS text LANGUAGE sql STABLE
    RETURN pg_postmaster_start_time()::text || ' ' || to_regclass('deliveries')::oid::text;

CREATE FUNCTION sending_is_permitted() RETURNS boolean LANGUAGE sql STABLE
    RETURN coalesce(
        (SELECT granted_until > clock_timestamp() AND incarnation = ledger_incarnation() FROM sending_permit),
        true);

-- A recovery under way: how far each sink must come before deliveries are what they were.
CREATE TABLE recovery_targets (
    sink        text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (sink, topic, partition)
);

-- The newest event of each delivery that the tables are behind of.
CREATE TABLE recovered_deliveries (
    delivery_id         uuid PRIMARY KEY,
    tenant_id           text NOT NULL,
    campaign_id         text NOT NULL,
    contact_id          text NOT NULL,
    sequence            integer NOT NULL,
    state               text NOT NULL,
    reason              text NOT NULL,
    provider_message_id text,
    attempts            integer NOT NULL,
    attempt_id          uuid,
    number_id           text
);

-- Every call in that history.
CREATE TABLE recovered_attempts (
    attempt_id  uuid PRIMARY KEY,
    delivery_id uuid NOT NULL,
    number_id   text NOT NULL,
    attempt     integer NOT NULL,
    called_at   timestamptz NOT NULL
);
