-- People of a tenant, who sign in with a password. Only an argon2id hash of it is stored.
CREATE TABLE users (
    tenant_id           text NOT NULL,
    user_id             text NOT NULL,
    email               text NOT NULL,  -- normalised: sinks/postgres/catalogue/users/emails.py
    role                text NOT NULL CHECK (role IN ('viewer', 'editor', 'owner')),
    state               text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    state_changed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    password_hash       text NOT NULL,
    password_changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, user_id),
    UNIQUE (tenant_id, email)
);

CREATE INDEX users_disabled ON users (state_changed_at) WHERE state = 'disabled';
