-- API keys are tokens with a role, and answers of the tenant API by idempotency key.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE tokens ADD COLUMN key_id text NOT NULL DEFAULT '';     -- empty: a service token
ALTER TABLE tokens ADD COLUMN name text NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN role text NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN scopes text[] NOT NULL DEFAULT '{}'; -- empty: all that the role may
ALTER TABLE tokens ADD COLUMN expires_at timestamptz;
CREATE INDEX tokens_by_key ON ONLY tokens (tenant_id, key_id) WHERE key_id <> '';

-- A tenant's own pause is a row beside the stop of an operator or a provider: each ends its own alone.
ALTER TABLE sending_stops
    ADD COLUMN by_tenant boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT sending_stops_pkey,
    ADD PRIMARY KEY (scope, by_tenant);

-- Written in the transaction of the request's change: a repetition gets the same answer and changes nothing.
CREATE TABLE idempotent_requests (
    tenant_id       text NOT NULL,
    idempotency_key text NOT NULL,
    operation       text NOT NULL,
    content_hash    text NOT NULL,
    status          integer NOT NULL DEFAULT 0,
    answer          bytea,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, idempotency_key)
);

CREATE INDEX idempotent_requests_by_time ON idempotent_requests (created_at);

-- Whose object an action changed; none for actions on the whole deployment. Earlier entries get theirs after the migration, in
-- batches (`sinks.postgres.schema.back_fill`). Last here, and not in the transaction that locks the outbox: whoever writes an
-- entry has locked what it changed before.
ALTER TABLE audit_log ADD COLUMN tenant_id text;
CREATE INDEX audit_log_by_tenant ON ONLY audit_log (tenant_id, audit_id DESC) WHERE tenant_id IS NOT NULL;
