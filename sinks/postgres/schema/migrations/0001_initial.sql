-- The first schema: catalogue, archive by day, delivery ledger by campaign month, outbox, sink positions.
-- Personal data lives in `contacts` and nowhere else, so that erasing a contact is one row here.

CREATE TABLE tenants (
    tenant_id  text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE quizzes (
    quiz_id    text PRIMARY KEY,
    tenant_id  text NOT NULL REFERENCES tenants,
    version    integer NOT NULL DEFAULT 1,
    title      text NOT NULL,
    questions  jsonb NOT NULL,          -- [{question_id, text, right_answer}]
    open       boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE campaigns (
    campaign_id  text PRIMARY KEY,
    tenant_id    text NOT NULL REFERENCES tenants,
    month        date NOT NULL,         -- first day of the month of creation: the ledger's partition
    cancelled_at timestamptz,           -- checked again just before each call
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Versions are never changed: a replay matches with the version that was in force.
CREATE TABLE campaign_versions (
    campaign_id  text NOT NULL REFERENCES campaigns,
    version      integer NOT NULL,
    definition   jsonb NOT NULL,        -- the Campaign record of schemas/campaign.avsc
    effective_at timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (campaign_id, version)
);

CREATE TABLE tokens (
    token_hash text PRIMARY KEY,        -- SHA-256, hex; the token itself is shown once and kept nowhere
    tenant_id  text NOT NULL,           -- '*' serves every tenant
    kind       text NOT NULL,
    version    integer NOT NULL DEFAULT 1,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE contacts (
    tenant_id  text NOT NULL,
    contact_id text NOT NULL,
    phone      text,
    name       text,
    email      text,
    seen_at    timestamptz NOT NULL,    -- of the completion these values come from: older ones do not overwrite
    PRIMARY KEY (tenant_id, contact_id)
);

CREATE TABLE completions (
    day           date NOT NULL,        -- a function of the event
    completion_id uuid NOT NULL,
    tenant_id     text NOT NULL,
    quiz_id       text NOT NULL,
    quiz_version  integer NOT NULL,
    contact_id    text NOT NULL,
    submitted_at  timestamptz NOT NULL,
    accepted_at   timestamptz NOT NULL,
    answers       jsonb NOT NULL,
    score         double precision,
    region        text NOT NULL DEFAULT '',
    archived_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (day, completion_id)
) PARTITION BY RANGE (day);
CREATE INDEX completions_by_quiz ON completions (tenant_id, quiz_id, accepted_at DESC);
CREATE INDEX completions_by_contact ON completions (tenant_id, contact_id);

CREATE TABLE outcomes (
    day           date NOT NULL,        -- of the completion
    completion_id uuid NOT NULL,
    tenant_id     text NOT NULL,
    quiz_id       text NOT NULL,
    contact_id    text NOT NULL,
    accepted_at   timestamptz NOT NULL,
    verdict       text NOT NULL CHECK (verdict IN ('limited', 'unmatched', 'matched')),
    reason        text NOT NULL DEFAULT '',
    campaigns     jsonb NOT NULL DEFAULT '[]',  -- [{campaign_id, version}]
    PRIMARY KEY (day, completion_id)
) PARTITION BY RANGE (day);

CREATE TABLE duplicates (
    day                 date NOT NULL,  -- of the completion
    completion_id       uuid NOT NULL,
    campaign_id         text NOT NULL,
    tenant_id           text NOT NULL,
    contact_id          text NOT NULL,
    first_completion_id uuid NOT NULL,
    accepted_at         timestamptz NOT NULL,
    PRIMARY KEY (day, completion_id, campaign_id)
) PARTITION BY RANGE (day);

-- The delivery ledger: the authority on who was written to.
-- The partition key is a function of the campaign, so the primary key is unique over the campaign's whole life.
CREATE TABLE deliveries (
    campaign_month      date NOT NULL,
    campaign_id         text NOT NULL,
    contact_id          text NOT NULL,
    delivery_id         uuid NOT NULL,
    tenant_id           text NOT NULL,
    campaign_version    integer NOT NULL,
    completion_id       uuid NOT NULL,
    completion_day      date NOT NULL,
    variables           jsonb NOT NULL DEFAULT '{}',
    state               text NOT NULL DEFAULT 'waiting' CHECK (state IN (
                            'waiting', 'leased', 'calling', 'sent', 'delivered', 'read',
                            'failed', 'suppressed', 'cancelled', 'ambiguous', 'dead')),
    reason              text NOT NULL DEFAULT '',
    due_at              timestamptz NOT NULL,
    priority            integer NOT NULL DEFAULT 0,
    attempts            integer NOT NULL DEFAULT 0,
    lease_token         uuid,           -- of one claim; the mark before a call checks it
    leased_until        timestamptz,
    number_id           text,           -- route: the sending number
    attempt_id          uuid,           -- of the last call; travels as the provider's callback data
    provider_message_id text,
    sequence            integer NOT NULL DEFAULT 1,  -- counts state changes: the version of the delivery's events
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (campaign_month, campaign_id, contact_id)
) PARTITION BY RANGE (campaign_month);
CREATE INDEX deliveries_due ON deliveries (tenant_id, priority DESC, due_at, created_at) WHERE state = 'waiting';
CREATE INDEX deliveries_held ON deliveries (leased_until) WHERE state IN ('leased', 'calling');
CREATE INDEX deliveries_by_id ON deliveries (delivery_id);
CREATE INDEX deliveries_by_provider_message ON deliveries (provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX deliveries_by_completion ON deliveries (completion_id);

-- Written in the transaction that marks a delivery `calling`: a call without a row here cannot have happened.
CREATE TABLE delivery_attempts (
    attempt_id          uuid PRIMARY KEY,
    delivery_id         uuid NOT NULL,
    number_id           text NOT NULL,
    attempt             integer NOT NULL,
    called_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at         timestamptz,
    outcome             text,           -- sent | rejected | not_sent | ambiguous
    code                integer,
    detail              text,
    provider_message_id text
);
CREATE INDEX delivery_attempts_by_delivery ON delivery_attempts (delivery_id);

-- One row a (message, status), however often the provider says it.
CREATE TABLE provider_statuses (
    provider            text NOT NULL,
    provider_message_id text NOT NULL,
    status              text NOT NULL,
    attempt_id          uuid,
    at                  timestamptz NOT NULL,
    errors              jsonb,
    merged              boolean NOT NULL DEFAULT false,
    PRIMARY KEY (provider, provider_message_id, status)
);
-- Those whose delivery is not known, or has no result of its own, yet.
CREATE INDEX provider_statuses_waiting ON provider_statuses (provider_message_id) WHERE NOT merged;
CREATE INDEX provider_statuses_waiting_by_time ON provider_statuses (at) WHERE NOT merged;

CREATE TABLE suppressions (
    tenant_id  text NOT NULL,
    contact_id text NOT NULL,
    reason     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, contact_id)
);

-- The stop switch: a row stops sending in its scope ('global', 'tenant:<id>', 'campaign:<id>', 'number:<id>').
CREATE TABLE sending_stops (
    scope      text PRIMARY KEY,
    reason     text NOT NULL DEFAULT '',
    stopped_at timestamptz NOT NULL DEFAULT now()
);

-- A sending number is leased to one sender process; the fencing token grows at each take-over.
CREATE TABLE sender_numbers (
    number_id        text PRIMARY KEY,  -- the provider's phone number id
    tenant_id        text NOT NULL,     -- '*' serves every tenant
    provider         text NOT NULL,
    base_url         text NOT NULL,
    credential       text NOT NULL,     -- NAME of the environment variable that holds the access token
    state            text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'stopped', 'quarantined')),
    reason           text NOT NULL DEFAULT '',
    messages_per_s   integer,           -- where it differs from the topology's
    lease_owner      text,
    fencing_token    bigint NOT NULL DEFAULT 0,
    leased_until     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE dead_letters (
    dead_letter_id   uuid PRIMARY KEY,
    source_topic     text NOT NULL,
    source_partition integer NOT NULL,
    source_offset    bigint NOT NULL,
    stage            text NOT NULL,
    reason           text NOT NULL,
    attempts         integer NOT NULL,
    completion_id    uuid,              -- where the record could be decoded that far
    failed_at        timestamptz NOT NULL,
    key              bytea,
    value            bytea
);
CREATE INDEX dead_letters_by_time ON dead_letters (failed_at);

-- Written in the transaction of what they belong to; published in order below the horizon of open transactions.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    topic      text NOT NULL,           -- the topology's role, e.g. 'delivery_events'
    key        bytea NOT NULL,
    value      bytea,                   -- encoded; NULL is a tombstone
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
    -- Every row is deleted soon: by share of the table's size, dead rows would pile up in front of the live ones.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000
);

-- A sink's position, moved in the transaction of its rows by compare-and-set: a zombie's transaction fails.
CREATE TABLE sink_offsets (
    sink        text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, topic, partition)
);
