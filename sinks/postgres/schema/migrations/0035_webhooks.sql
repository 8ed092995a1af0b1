-- Endpoints of tenants that receive events, and the events that wait for them: the durable queue of the process webhook-sender.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

CREATE TABLE webhook_endpoints (
    endpoint_id    text PRIMARY KEY,
    tenant_id      text NOT NULL,
    url            text NOT NULL,
    kinds          text[] NOT NULL,
    description    text NOT NULL DEFAULT '',
    state          text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    state_reason   text NOT NULL DEFAULT '',
    held_reason    text NOT NULL DEFAULT '',  -- of an operator; empty: not held
    salt           bytea NOT NULL,            -- with the deployment's key it gives the secret, which is stored nowhere
    previous_salt  bytea,
    previous_until timestamptz,
    failing_since  timestamptz,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX webhook_endpoints_by_tenant ON webhook_endpoints (tenant_id, endpoint_id);

-- A message in flight is pending with a lease; `due_at` is then the end of that.
CREATE TABLE webhook_messages (
    message_id  text PRIMARY KEY,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id   text NOT NULL,
    endpoint_id text NOT NULL,
    delivery_id uuid NOT NULL,
    sequence    integer NOT NULL,
    kind        text NOT NULL,
    content     text NOT NULL,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    last_error  text NOT NULL DEFAULT '',
    lease       uuid,
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz
);

CREATE INDEX webhook_messages_due ON webhook_messages (endpoint_id, due_at) WHERE state = 'pending';
CREATE INDEX webhook_messages_in_order ON webhook_messages (endpoint_id, delivery_id, sequence) WHERE state = 'pending';
CREATE INDEX webhook_messages_waiting ON webhook_messages (queued_at) WHERE state = 'pending';
CREATE INDEX webhook_messages_by_tenant ON webhook_messages (tenant_id, number);
CREATE INDEX webhook_messages_by_endpoint ON webhook_messages (tenant_id, endpoint_id, number);
CREATE INDEX webhook_messages_failed ON webhook_messages (tenant_id, number) WHERE state = 'failed';
CREATE INDEX webhook_messages_by_time ON webhook_messages (created_at);
