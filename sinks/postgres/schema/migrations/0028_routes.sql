-- The route of a delivery, stored before it is claimed: the channel, and the number that is to send it.
-- `route` NULL: not chosen yet, or to be chosen again. `refused_by`: providers that cannot serve this recipient.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE deliveries
    ADD COLUMN channel text NOT NULL DEFAULT 'whatsapp',
    ADD COLUMN route text,
    ADD COLUMN refused_by text[] NOT NULL DEFAULT '{}';
ALTER TABLE delivery_attempts ADD COLUMN channel text;

-- `kinds`: the kinds of messages that its provider carries; NULL: all. `weight`: its part of the contacts, compared with
-- the tenant's other numbers of the channel. `open_since`: contacts that are known for longer stay with older numbers.
ALTER TABLE sender_numbers
    ADD COLUMN channel text NOT NULL DEFAULT 'whatsapp',
    ADD COLUMN kinds text[],
    ADD COLUMN weight integer NOT NULL DEFAULT 100,
    ADD COLUMN weighted boolean NOT NULL DEFAULT false,
    ADD COLUMN open_since timestamptz NOT NULL DEFAULT '-infinity',
    ADD CONSTRAINT sender_numbers_weight_check CHECK (weight >= 0);
UPDATE sender_numbers
SET weight = coalesce(messages_per_minute, messages_per_s * 60,
                      CASE WHEN provider IN ('uazapi', 'evolution') THEN 20 ELSE 4800 END),
    kinds = CASE WHEN provider IN ('uazapi', 'evolution')
                 THEN ARRAY['text', 'image', 'video', 'audio', 'document'] END;

-- A contact's number is one of those that were there when the contact came.
ALTER TABLE contacts ADD COLUMN known_since timestamptz NOT NULL DEFAULT now();

-- What the waiting deliveries of a pool of numbers were routed under, as a hash: of a tenant's numbers, or of those of
-- '*'. While it is another one, a sender routes them again; and at `look_at`, those that a transaction has meanwhile
-- stored with a number that cannot send.
CREATE TABLE routed_pools (
    tenant_id text PRIMARY KEY,
    routed_under text NOT NULL,
    looks integer NOT NULL DEFAULT 1,
    look_at timestamptz
);

-- Claims read the rows of a number. ON ONLY: built for each partition while the table is in use, by
-- `sinks.postgres.schema.online_indexes`. The index of rows without regard to their number goes.
CREATE INDEX deliveries_routed ON ONLY deliveries (tenant_id, route, priority DESC, due_at, created_at)
    WHERE state = 'waiting';
DROP INDEX deliveries_due;

-- Few at any time, except those for which there is no number: which combinations there are is read without reading them.
CREATE INDEX deliveries_unrouted ON ONLY deliveries (tenant_id, channel, refused_by, created_at)
    WHERE state = 'waiting' AND route IS NULL;

-- Numbers to which deliveries may be routed. `usable` is not so for one that is held, stopped, limited by its provider
-- for longer than `patience_s`, or without a process that has its secret for so long.
CREATE FUNCTION routable_numbers(patience_s double precision)
RETURNS TABLE (tenant_id text, number_id text, provider text, channel text, kinds text[], weight integer,
               open_since timestamptz, usable boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT n.tenant_id, n.number_id, n.provider, n.channel, n.kinds, n.weight, n.open_since,
           n.state = 'active'
           AND NOT EXISTS (SELECT FROM sending_stops AS s WHERE s.scope = 'number:' || n.number_id)
           AND coalesce(n.paused_until <= clock_timestamp() + make_interval(secs => patience_s), true)
           AND (greatest(n.leased_until, n.created_at) > clock_timestamp() - make_interval(secs => patience_s)
                OR EXISTS (SELECT FROM sender_processes AS p
                           WHERE p.alive_until > clock_timestamp()
                             AND n.provider = ANY (p.providers) AND n.credential = ANY (p.credentials)))
    FROM sender_numbers AS n
    WHERE n.weight > 0;
END;

-- Whose numbers send for a tenant: its own, or those of '*' where it has none.
CREATE FUNCTION number_pool(tenant text) RETURNS text
LANGUAGE sql STABLE
RETURN CASE WHEN EXISTS (SELECT FROM sender_numbers AS n WHERE n.tenant_id = number_pool.tenant) THEN tenant ELSE '*' END;

-- The contact's place in the order of a number's preference; the lowest of the numbers is the contact's. It depends on
-- nothing but contact and number, and a larger weight only ever wins contacts: so a contact moves once at most while
-- weights go in one direction, and a number that goes or comes moves no contact of the others.
CREATE FUNCTION route_rank(contact text, number_id text, weight integer) RETURNS double precision
LANGUAGE sql IMMUTABLE
RETURN -ln((('x' || substr(md5(contact || '/' || number_id), 1, 12))::bit(48)::bigint + 0.5)::double precision
           / 281474976710656.0) / weight;

-- The order in which numbers are preferred for a contact; the first of them that may be used is the route. Numbers that
-- carry the kind of message; that can send; that were there when the contact came; the contact's own.
CREATE FUNCTION route_order(kind text, contact text, known_since timestamptz, number_id text, weight integer,
                            kinds text[], usable boolean, open_since timestamptz) RETURNS double precision[]
LANGUAGE sql IMMUTABLE
RETURN ARRAY[
    CASE WHEN coalesce(kind = ANY (kinds), true) THEN 0 ELSE 1 END,
    CASE WHEN usable THEN 0 ELSE 1 END,
    CASE WHEN open_since <= coalesce(known_since, 'infinity') THEN 0 ELSE 1 END,
    route_rank(contact, number_id, weight)
]::double precision[];
