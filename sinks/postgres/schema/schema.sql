-- Made by `python -m sinks.postgres.schema.dump`; a test holds it against the migrations.
CREATE TABLE public.sender_numbers (
    number_id text NOT NULL,
    tenant_id text NOT NULL,
    provider text NOT NULL,
    base_url text NOT NULL,
    credential text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    messages_per_s integer,
    lease_owner text,
    fencing_token bigint DEFAULT 0 NOT NULL,
    leased_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    messages_per_minute integer,
    paused_until timestamp with time zone,
    account_id text,
    display_phone text,
    provider_limit text,
    provider_limit_at timestamp with time zone,
    channel text DEFAULT 'whatsapp'::text NOT NULL,
    kinds text[],
    weight integer DEFAULT 100 NOT NULL,
    weighted boolean DEFAULT false NOT NULL,
    open_since timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    portfolio_id text,
    people_max integer,
    people_max_at timestamp with time zone,
    messages_per_day integer,
    coexistence boolean DEFAULT false NOT NULL,
    session_lost_at timestamp with time zone,
    CONSTRAINT sender_numbers_state_check CHECK ((state = ANY (ARRAY['active'::text, 'paused'::text, 'stopped'::text, 'quarantined'::text]))),
    CONSTRAINT sender_numbers_weight_check CHECK ((weight >= 0))
);

ALTER TABLE ONLY public.sender_numbers FORCE ROW LEVEL SECURITY;

CREATE FUNCTION public.budget_of(number public.sender_numbers, sessions text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN ((number).provider = ANY (sessions)) THEN ('number:'::text || (number).number_id) ELSE ('portfolio:'::text || COALESCE((number).portfolio_id, (number).account_id)) END;

CREATE FUNCTION public.current_tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('quizstream.tenant'::text, true), ''::text);

CREATE FUNCTION public.former_provider_name(provider text) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE provider WHEN 'meta-cloud'::text THEN 'whatsapp'::text ELSE NULL::text END;

CREATE FUNCTION public.is_newer(is_there boolean, kept_at timestamp with time zone, stated_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN ((stated_at IS NOT NULL) AND ((NOT is_there) OR (kept_at < stated_at) OR (kept_at > now())));

CREATE TABLE public.sending_releases (
    scope text NOT NULL,
    released_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.sending_releases FORCE ROW LEVEL SECURITY;

CREATE FUNCTION public.is_released_since(scope text, reported_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (EXISTS (SELECT FROM public.sending_releases r WHERE ((r.scope = is_released_since.scope) AND (is_released_since.reported_at < date_trunc('second'::text, r.released_at)))));

CREATE FUNCTION public.isolate_partition(partition regclass, parent regclass) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.ledger_incarnation() RETURNS text
    LANGUAGE sql STABLE
    RETURN (((EXTRACT(epoch FROM pg_postmaster_start_time()))::text || ' '::text) || ((to_regclass('deliveries'::text))::oid)::text);

CREATE FUNCTION public.number_pool(tenant text) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN (EXISTS (SELECT FROM public.sender_numbers n WHERE (n.tenant_id = number_pool.tenant))) THEN tenant ELSE '*'::text END;

CREATE FUNCTION public.provider_name(stored text) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE COALESCE(stored, 'whatsapp'::text) WHEN 'whatsapp'::text THEN 'meta-cloud'::text ELSE stored END;

CREATE FUNCTION public.reported_people_max(portfolio text) RETURNS integer
    LANGUAGE sql STABLE
    RETURN (SELECT n.people_max FROM public.sender_numbers n WHERE ((COALESCE(n.portfolio_id, n.account_id) = reported_people_max.portfolio) AND (n.people_max_at IS NOT NULL)) ORDER BY n.people_max_at DESC, n.number_id LIMIT 1);

CREATE TABLE public.sender_processes (
    owner text NOT NULL,
    providers text[] NOT NULL,
    credentials text[] NOT NULL,
    alive_until timestamp with time zone NOT NULL
);

CREATE TABLE public.sending_stops (
    scope text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    stopped_at timestamp with time zone DEFAULT now() NOT NULL,
    by_tenant boolean DEFAULT false NOT NULL
);

ALTER TABLE ONLY public.sending_stops FORCE ROW LEVEL SECURITY;

CREATE FUNCTION public.routable_numbers(patience_s double precision) RETURNS TABLE(tenant_id text, number_id text, provider text, channel text, kinds text[], weight integer, open_since timestamp with time zone, usable boolean)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT n.tenant_id,
     n.number_id,
     n.provider,
     n.channel,
     n.kinds,
     n.weight,
     n.open_since,
     ((n.state = 'active'::text) AND (NOT (EXISTS ( SELECT
            FROM public.sending_stops s
           WHERE (s.scope = ('number:'::text || n.number_id))))) AND COALESCE((n.paused_until <= (clock_timestamp() + make_interval(secs => routable_numbers.patience_s))), true) AND ((GREATEST(n.leased_until, n.created_at) > (clock_timestamp() - make_interval(secs => routable_numbers.patience_s))) OR (EXISTS ( SELECT
            FROM public.sender_processes p
           WHERE ((p.alive_until > clock_timestamp()) AND (n.provider = ANY (p.providers)) AND (n.credential = ANY (p.credentials)))))))
    FROM public.sender_numbers n
   WHERE (n.weight > 0);
END;

CREATE FUNCTION public.route_rank(contact text, number_id text, weight integer) RETURNS double precision
    LANGUAGE sql IMMUTABLE
    RETURN ((- ln(((((((('x'::text || substr(md5(((contact || '/'::text) || number_id)), 1, 12)))::bit(48))::bigint)::numeric + 0.5))::double precision / (281474976710656.0)::double precision))) / (weight)::double precision);

CREATE FUNCTION public.route_order(kind text, contact text, known_since timestamp with time zone, number_id text, weight integer, kinds text[], usable boolean, open_since timestamp with time zone) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE
    RETURN ARRAY[(CASE WHEN COALESCE((kind = ANY (kinds)), true) THEN 0 ELSE 1 END)::double precision, (CASE WHEN usable THEN 0 ELSE 1 END)::double precision, (CASE WHEN (open_since <= COALESCE(known_since, 'infinity'::timestamp with time zone)) THEN 0 ELSE 1 END)::double precision, public.route_rank(contact, number_id, weight)];

CREATE TABLE public.contact_aliases (
    tenant_id text NOT NULL,
    alias text NOT NULL,
    contact_id text NOT NULL,
    is_contact boolean NOT NULL,
    source text NOT NULL,
    learned_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY public.contact_aliases FORCE ROW LEVEL SECURITY;

CREATE FUNCTION public.same_person(tenant text, contact text) RETURNS SETOF text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT COALESCE(( SELECT a.contact_id
            FROM public.contact_aliases a
           WHERE ((a.tenant_id = same_person.tenant) AND (a.alias = same_person.contact))), same_person.contact) AS "coalesce"
 UNION ALL
  SELECT a.alias
    FROM public.contact_aliases a
   WHERE ((a.tenant_id = same_person.tenant) AND a.is_contact AND (a.contact_id = COALESCE(( SELECT b.contact_id
            FROM public.contact_aliases b
           WHERE ((b.tenant_id = same_person.tenant) AND (b.alias = same_person.contact))), same_person.contact)));
END;

CREATE TABLE public.sending_permit (
    only_row boolean DEFAULT true NOT NULL,
    granted_until timestamp with time zone NOT NULL,
    incarnation text NOT NULL,
    CONSTRAINT sending_permit_only_row_check CHECK (only_row)
);

CREATE FUNCTION public.sending_is_permitted() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN COALESCE((SELECT ((sending_permit.granted_until > clock_timestamp()) AND (sending_permit.incarnation = public.ledger_incarnation())) FROM public.sending_permit), true);

CREATE TABLE public.audit_log (
    audit_id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    tenant_id text
);

ALTER TABLE ONLY public.audit_log FORCE ROW LEVEL SECURITY;

ALTER TABLE public.audit_log ALTER COLUMN audit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.budget_bookings (
    campaign_month date NOT NULL,
    campaign_id text NOT NULL,
    contact_id text NOT NULL,
    tenant_id text NOT NULL,
    budget_id text NOT NULL,
    priority integer NOT NULL,
    "position" bigint NOT NULL,
    due_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.budget_bookings FORCE ROW LEVEL SECURITY;

ALTER TABLE public.budget_bookings ALTER COLUMN "position" ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.budget_bookings_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.budget_uses (
    attempt_id uuid NOT NULL,
    budget_id text NOT NULL,
    subject text NOT NULL,
    used_at timestamp with time zone NOT NULL,
    counts boolean NOT NULL
);

ALTER TABLE ONLY public.budget_uses FORCE ROW LEVEL SECURITY;

CREATE TABLE public.budgets (
    budget_id text NOT NULL,
    uses_max integer,
    uses integer DEFAULT 0 NOT NULL,
    booked jsonb DEFAULT '{}'::jsonb NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    looked_at timestamp with time zone,
    CONSTRAINT budgets_uses_max_check CHECK ((uses_max >= 0))
);

ALTER TABLE ONLY public.budgets FORCE ROW LEVEL SECURITY;

CREATE TABLE public.campaign_rejections (
    campaign_id text NOT NULL,
    code text NOT NULL,
    contact_id text NOT NULL
);

ALTER TABLE ONLY public.campaign_rejections FORCE ROW LEVEL SECURITY;

CREATE TABLE public.campaign_versions (
    campaign_id text NOT NULL,
    version integer NOT NULL,
    definition jsonb NOT NULL,
    effective_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.campaign_versions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.campaigns (
    campaign_id text NOT NULL,
    tenant_id text NOT NULL,
    month date NOT NULL,
    cancelled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ledger_deleted_at timestamp with time zone
);

ALTER TABLE ONLY public.campaigns FORCE ROW LEVEL SECURITY;

CREATE TABLE public.completions (
    day date NOT NULL,
    completion_id uuid NOT NULL,
    tenant_id text NOT NULL,
    quiz_id text NOT NULL,
    quiz_version integer NOT NULL,
    contact_id text NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    answers jsonb NOT NULL,
    score double precision,
    region text DEFAULT ''::text NOT NULL,
    archived_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    clock_ahead_ms bigint DEFAULT 0 NOT NULL,
    consent_granted boolean,
    consent_text text
)
PARTITION BY RANGE (day);

ALTER TABLE ONLY public.completions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.completions_apart (
    completion_id uuid NOT NULL,
    day date NOT NULL
);

ALTER TABLE ONLY public.completions_apart FORCE ROW LEVEL SECURITY;

CREATE TABLE public.consent_words (
    tenant_id text NOT NULL,
    language text NOT NULL,
    phrase text NOT NULL,
    consent text NOT NULL,
    CONSTRAINT consent_words_consent_check CHECK ((consent = ANY (ARRAY['stop'::text, 'resume'::text])))
);

ALTER TABLE ONLY public.consent_words FORCE ROW LEVEL SECURITY;

CREATE TABLE public.contacts (
    tenant_id text NOT NULL,
    contact_id text NOT NULL,
    phone text,
    name text,
    email text,
    seen_at timestamp with time zone NOT NULL,
    name_at timestamp with time zone,
    email_at timestamp with time zone,
    known_since timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.contacts FORCE ROW LEVEL SECURITY;

CREATE TABLE public.dead_letters (
    dead_letter_id uuid NOT NULL,
    source_topic text NOT NULL,
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    attempts integer NOT NULL,
    completion_id uuid,
    failed_at timestamp with time zone NOT NULL,
    key bytea,
    value bytea,
    redriven_from uuid,
    redriven_at timestamp with time zone,
    quarantined_at timestamp with time zone,
    campaign_id text,
    payload_erased_at timestamp with time zone
);

ALTER TABLE ONLY public.dead_letters FORCE ROW LEVEL SECURITY;

CREATE TABLE public.deliveries (
    campaign_month date NOT NULL,
    campaign_id text NOT NULL,
    contact_id text NOT NULL,
    delivery_id uuid NOT NULL,
    tenant_id text NOT NULL,
    campaign_version integer NOT NULL,
    completion_id uuid NOT NULL,
    completion_day date NOT NULL,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    lease_token uuid,
    leased_until timestamp with time zone,
    number_id text,
    attempt_id uuid,
    provider_message_id text,
    sequence integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    with_fallbacks boolean DEFAULT false NOT NULL,
    channel text DEFAULT 'whatsapp'::text NOT NULL,
    route text,
    refused_by text[] DEFAULT '{}'::text[] NOT NULL,
    redrives smallint DEFAULT 0 NOT NULL,
    CONSTRAINT deliveries_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'leased'::text, 'calling'::text, 'sent'::text, 'delivered'::text, 'read'::text, 'failed'::text, 'suppressed'::text, 'cancelled'::text, 'ambiguous'::text, 'dead'::text])))
)
PARTITION BY RANGE (campaign_month);

ALTER TABLE ONLY public.deliveries FORCE ROW LEVEL SECURITY;

CREATE TABLE public.delivery_attempts (
    attempt_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    number_id text NOT NULL,
    attempt integer NOT NULL,
    called_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    outcome text,
    code integer,
    detail text,
    provider_message_id text,
    provider text,
    provider_code text,
    action text,
    lookups smallint DEFAULT 0 NOT NULL,
    lookup_at timestamp with time zone,
    channel text
);

ALTER TABLE ONLY public.delivery_attempts FORCE ROW LEVEL SECURITY;

CREATE TABLE public.duplicates (
    day date NOT NULL,
    completion_id uuid NOT NULL,
    campaign_id text NOT NULL,
    tenant_id text NOT NULL,
    contact_id text NOT NULL,
    first_completion_id uuid NOT NULL,
    accepted_at timestamp with time zone NOT NULL
)
PARTITION BY RANGE (day);

ALTER TABLE ONLY public.duplicates FORCE ROW LEVEL SECURITY;

CREATE TABLE public.idempotent_requests (
    tenant_id text NOT NULL,
    idempotency_key text NOT NULL,
    operation text NOT NULL,
    content_hash text NOT NULL,
    status integer DEFAULT 0 NOT NULL,
    answer bytea,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY public.idempotent_requests FORCE ROW LEVEL SECURITY;

CREATE TABLE public.inbound_events (
    event_id uuid NOT NULL,
    provider text NOT NULL,
    number_id text NOT NULL,
    kind text NOT NULL,
    consent text,
    at timestamp with time zone NOT NULL,
    reply_to text,
    text text,
    reason text DEFAULT ''::text NOT NULL,
    resolved boolean NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT inbound_events_consent_check CHECK ((consent = ANY (ARRAY['stop'::text, 'resume'::text, 'perhaps'::text])))
);

ALTER TABLE ONLY public.inbound_events FORCE ROW LEVEL SECURITY;

CREATE TABLE public.inbound_people (
    tenant_id text NOT NULL,
    person text NOT NULL,
    event_id uuid NOT NULL
);

ALTER TABLE ONLY public.inbound_people FORCE ROW LEVEL SECURITY;

CREATE TABLE public.outbox (
    id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    topic text NOT NULL,
    key bytea NOT NULL,
    value bytea,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    tenant_id text DEFAULT public.current_tenant(),
    set_aside_at timestamp with time zone
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='20000');

ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.outbox_positions (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL
);

CREATE TABLE public.outcomes (
    day date NOT NULL,
    completion_id uuid NOT NULL,
    tenant_id text NOT NULL,
    quiz_id text NOT NULL,
    contact_id text NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    verdict text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    campaigns jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT outcomes_verdict_check CHECK ((verdict = ANY (ARRAY['limited'::text, 'unmatched'::text, 'matched'::text])))
)
PARTITION BY RANGE (day);

ALTER TABLE ONLY public.outcomes FORCE ROW LEVEL SECURITY;

CREATE TABLE public.provider_notices (
    notice_id uuid NOT NULL,
    provider text NOT NULL,
    kind text NOT NULL,
    event text NOT NULL,
    account_id text NOT NULL,
    number_id text NOT NULL,
    phone text NOT NULL,
    template text NOT NULL,
    language text NOT NULL,
    detail text NOT NULL,
    effect text NOT NULL,
    at timestamp with time zone NOT NULL,
    outcome text DEFAULT ''::text NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY public.provider_notices FORCE ROW LEVEL SECURITY;

CREATE TABLE public.provider_statuses (
    provider text NOT NULL,
    provider_message_id text NOT NULL,
    status text NOT NULL,
    attempt_id uuid,
    at timestamp with time zone NOT NULL,
    errors jsonb,
    merged boolean DEFAULT false NOT NULL,
    number_id text DEFAULT ''::text NOT NULL
);

ALTER TABLE ONLY public.provider_statuses FORCE ROW LEVEL SECURITY;

CREATE TABLE public.quizzes (
    quiz_id text NOT NULL,
    tenant_id text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    title text NOT NULL,
    questions jsonb NOT NULL,
    open boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    former_questions jsonb DEFAULT '[]'::jsonb NOT NULL,
    page jsonb
);

ALTER TABLE ONLY public.quizzes FORCE ROW LEVEL SECURITY;

CREATE TABLE public.recovered_attempts (
    attempt_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    number_id text NOT NULL,
    attempt integer NOT NULL,
    called_at timestamp with time zone NOT NULL,
    taken_back_message_id text
);

ALTER TABLE ONLY public.recovered_attempts FORCE ROW LEVEL SECURITY;

CREATE TABLE public.recovered_deliveries (
    delivery_id uuid NOT NULL,
    tenant_id text NOT NULL,
    campaign_id text NOT NULL,
    contact_id text NOT NULL,
    sequence integer NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    provider_message_id text,
    attempts integer NOT NULL,
    attempt_id uuid,
    number_id text
);

ALTER TABLE ONLY public.recovered_deliveries FORCE ROW LEVEL SECURITY;

CREATE TABLE public.recovery_targets (
    sink text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL
);

CREATE TABLE public.routed_pools (
    tenant_id text NOT NULL,
    routed_under text NOT NULL,
    looks integer DEFAULT 1 NOT NULL,
    look_at timestamp with time zone
);

ALTER TABLE ONLY public.routed_pools FORCE ROW LEVEL SECURITY;

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sink_offsets (
    sink text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.suppressions (
    tenant_id text NOT NULL,
    contact_id text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    decided_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    lifted boolean DEFAULT false NOT NULL
);

ALTER TABLE ONLY public.suppressions FORCE ROW LEVEL SECURITY;

CREATE TABLE public.tenants (
    tenant_id text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    language text DEFAULT 'pt-BR'::text NOT NULL,
    limits jsonb DEFAULT '{}'::jsonb NOT NULL,
    version integer DEFAULT 0 NOT NULL,
    CONSTRAINT tenants_language_check CHECK ((language = ANY (ARRAY['pt-BR'::text, 'en'::text])))
);

ALTER TABLE ONLY public.tenants FORCE ROW LEVEL SECURITY;

CREATE TABLE public.tokens (
    token_hash text NOT NULL,
    tenant_id text NOT NULL,
    kind text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    key_id text DEFAULT ''::text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    role text DEFAULT ''::text NOT NULL,
    scopes text[] DEFAULT '{}'::text[] NOT NULL,
    expires_at timestamp with time zone
);

ALTER TABLE ONLY public.tokens FORCE ROW LEVEL SECURITY;

CREATE TABLE public.users (
    tenant_id text NOT NULL,
    user_id text NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    state_changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    password_hash text NOT NULL,
    password_changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'editor'::text, 'owner'::text]))),
    CONSTRAINT users_state_check CHECK ((state = ANY (ARRAY['active'::text, 'disabled'::text])))
);

ALTER TABLE ONLY public.users FORCE ROW LEVEL SECURITY;

CREATE TABLE public.visits (
    day date NOT NULL,
    quiz_id text NOT NULL,
    visit_id uuid NOT NULL,
    tenant_id text NOT NULL,
    quiz_version integer NOT NULL,
    furthest integer NOT NULL,
    question_id text NOT NULL,
    progressed boolean NOT NULL,
    active_at timestamp with time zone,
    abandoned_at timestamp with time zone,
    completed_at timestamp with time zone,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    state text GENERATED ALWAYS AS (
CASE
    WHEN (completed_at IS NOT NULL) THEN 'completed'::text
    WHEN ((abandoned_at IS NOT NULL) AND (active_at > abandoned_at)) THEN 'progressed'::text
    WHEN (abandoned_at IS NOT NULL) THEN 'abandoned'::text
    WHEN progressed THEN 'progressed'::text
    ELSE 'started'::text
END) STORED
)
PARTITION BY RANGE (day);

ALTER TABLE ONLY public.visits FORCE ROW LEVEL SECURITY;

CREATE TABLE public.webhook_endpoints (
    endpoint_id text NOT NULL,
    tenant_id text NOT NULL,
    url text NOT NULL,
    kinds text[] NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    state_reason text DEFAULT ''::text NOT NULL,
    held_reason text DEFAULT ''::text NOT NULL,
    salt bytea NOT NULL,
    previous_salt bytea,
    previous_until timestamp with time zone,
    failing_since timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    given_up bigint DEFAULT 0 NOT NULL,
    given_up_at timestamp with time zone,
    CONSTRAINT webhook_endpoints_state_check CHECK ((state = ANY (ARRAY['active'::text, 'disabled'::text])))
);

ALTER TABLE ONLY public.webhook_endpoints FORCE ROW LEVEL SECURITY;

CREATE TABLE public.webhook_keys (
    number_id text NOT NULL,
    provider text NOT NULL,
    version integer NOT NULL,
    key_hash text NOT NULL,
    former_hash text DEFAULT ''::text NOT NULL,
    former_until timestamp with time zone,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY public.webhook_keys FORCE ROW LEVEL SECURITY;

CREATE TABLE public.webhook_messages (
    message_id text NOT NULL,
    number bigint NOT NULL,
    tenant_id text NOT NULL,
    endpoint_id text NOT NULL,
    delivery_id uuid NOT NULL,
    sequence integer NOT NULL,
    kind text NOT NULL,
    content text NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text DEFAULT ''::text NOT NULL,
    lease uuid,
    due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    queued_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT webhook_messages_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text])))
);

ALTER TABLE ONLY public.webhook_messages FORCE ROW LEVEL SECURITY;

ALTER TABLE public.webhook_messages ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.webhook_messages_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (audit_id);

ALTER TABLE ONLY public.budget_bookings
    ADD CONSTRAINT budget_bookings_pkey PRIMARY KEY (campaign_month, campaign_id, contact_id);

ALTER TABLE ONLY public.budget_uses
    ADD CONSTRAINT budget_uses_pkey PRIMARY KEY (attempt_id, budget_id);

ALTER TABLE ONLY public.budgets
    ADD CONSTRAINT budgets_pkey PRIMARY KEY (budget_id);

ALTER TABLE ONLY public.campaign_rejections
    ADD CONSTRAINT campaign_rejections_pkey PRIMARY KEY (campaign_id, code, contact_id);

ALTER TABLE ONLY public.campaign_versions
    ADD CONSTRAINT campaign_versions_pkey PRIMARY KEY (campaign_id, version);

ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT campaigns_pkey PRIMARY KEY (campaign_id);

ALTER TABLE ONLY public.completions_apart
    ADD CONSTRAINT completions_apart_pkey PRIMARY KEY (completion_id);

ALTER TABLE ONLY public.completions
    ADD CONSTRAINT completions_pkey PRIMARY KEY (day, completion_id);

ALTER TABLE ONLY public.consent_words
    ADD CONSTRAINT consent_words_pkey PRIMARY KEY (tenant_id, language, phrase);

ALTER TABLE ONLY public.contact_aliases
    ADD CONSTRAINT contact_aliases_pkey PRIMARY KEY (tenant_id, alias);

ALTER TABLE ONLY public.contacts
    ADD CONSTRAINT contacts_pkey PRIMARY KEY (tenant_id, contact_id);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (campaign_month, campaign_id, contact_id);

ALTER TABLE ONLY public.delivery_attempts
    ADD CONSTRAINT delivery_attempts_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY public.duplicates
    ADD CONSTRAINT duplicates_pkey PRIMARY KEY (day, completion_id, campaign_id);

ALTER TABLE ONLY public.idempotent_requests
    ADD CONSTRAINT idempotent_requests_pkey PRIMARY KEY (tenant_id, idempotency_key);

ALTER TABLE ONLY public.inbound_events
    ADD CONSTRAINT inbound_events_pkey PRIMARY KEY (event_id);

ALTER TABLE ONLY public.inbound_people
    ADD CONSTRAINT inbound_people_pkey PRIMARY KEY (tenant_id, person, event_id);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.outbox_positions
    ADD CONSTRAINT outbox_positions_pkey PRIMARY KEY (topic, partition);

ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (day, completion_id);

ALTER TABLE ONLY public.provider_notices
    ADD CONSTRAINT provider_notices_pkey PRIMARY KEY (notice_id);

ALTER TABLE ONLY public.provider_statuses
    ADD CONSTRAINT provider_statuses_pkey PRIMARY KEY (provider, provider_message_id, status);

ALTER TABLE ONLY public.quizzes
    ADD CONSTRAINT quizzes_pkey PRIMARY KEY (quiz_id);

ALTER TABLE ONLY public.recovered_attempts
    ADD CONSTRAINT recovered_attempts_pkey PRIMARY KEY (attempt_id);

ALTER TABLE ONLY public.recovered_deliveries
    ADD CONSTRAINT recovered_deliveries_pkey PRIMARY KEY (delivery_id);

ALTER TABLE ONLY public.recovery_targets
    ADD CONSTRAINT recovery_targets_pkey PRIMARY KEY (sink, topic, partition);

ALTER TABLE ONLY public.routed_pools
    ADD CONSTRAINT routed_pools_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.sender_numbers
    ADD CONSTRAINT sender_numbers_pkey PRIMARY KEY (number_id);

ALTER TABLE ONLY public.sender_processes
    ADD CONSTRAINT sender_processes_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY public.sending_permit
    ADD CONSTRAINT sending_permit_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.sending_releases
    ADD CONSTRAINT sending_releases_pkey PRIMARY KEY (scope);

ALTER TABLE ONLY public.sending_stops
    ADD CONSTRAINT sending_stops_pkey PRIMARY KEY (scope, by_tenant);

ALTER TABLE ONLY public.sink_offsets
    ADD CONSTRAINT sink_offsets_pkey PRIMARY KEY (sink, topic, partition);

ALTER TABLE ONLY public.suppressions
    ADD CONSTRAINT suppressions_pkey PRIMARY KEY (tenant_id, contact_id);

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id);

ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (tenant_id, user_id);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_tenant_id_email_key UNIQUE (tenant_id, email);

ALTER TABLE ONLY public.visits
    ADD CONSTRAINT visits_pkey PRIMARY KEY (day, quiz_id, visit_id);

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (endpoint_id);

ALTER TABLE ONLY public.webhook_keys
    ADD CONSTRAINT webhook_keys_pkey PRIMARY KEY (number_id);

ALTER TABLE ONLY public.webhook_messages
    ADD CONSTRAINT webhook_messages_pkey PRIMARY KEY (message_id);

CREATE INDEX audit_log_by_tenant ON public.audit_log USING btree (tenant_id, audit_id DESC) WHERE (tenant_id IS NOT NULL);

CREATE INDEX audit_log_by_time ON public.audit_log USING btree (at);

CREATE INDEX budget_bookings_by_due ON public.budget_bookings USING btree (budget_id, due_at);

CREATE INDEX budget_bookings_in_order ON public.budget_bookings USING btree (budget_id, ((- priority)), "position");

CREATE INDEX budget_uses_by_subject ON public.budget_uses USING btree (budget_id, subject);

CREATE INDEX budget_uses_by_time ON public.budget_uses USING btree (budget_id, used_at);

CREATE INDEX completions_by_contact ON ONLY public.completions USING btree (tenant_id, contact_id);

CREATE INDEX completions_by_quiz ON ONLY public.completions USING btree (tenant_id, quiz_id, accepted_at DESC);

CREATE INDEX contact_aliases_by_contact ON public.contact_aliases USING btree (tenant_id, contact_id);

CREATE INDEX dead_letters_by_place ON public.dead_letters USING btree (source_topic, source_partition, source_offset);

CREATE INDEX dead_letters_by_time ON public.dead_letters USING btree (failed_at);

CREATE INDEX dead_letters_with_payload ON public.dead_letters USING btree (failed_at) WHERE (payload_erased_at IS NULL);

CREATE INDEX deliveries_by_completion ON ONLY public.deliveries USING btree (completion_id);

CREATE INDEX deliveries_by_id ON ONLY public.deliveries USING btree (delivery_id);

CREATE INDEX deliveries_by_provider_message ON ONLY public.deliveries USING btree (provider_message_id) WHERE (provider_message_id IS NOT NULL);

CREATE INDEX deliveries_held ON ONLY public.deliveries USING btree (leased_until) WHERE (state = ANY (ARRAY['leased'::text, 'calling'::text]));

CREATE INDEX deliveries_in_doubt ON ONLY public.deliveries USING btree (state) WHERE (state = 'ambiguous'::text);

CREATE INDEX deliveries_routed ON ONLY public.deliveries USING btree (tenant_id, route, priority DESC, due_at, created_at) WHERE (state = 'waiting'::text);

CREATE INDEX deliveries_unrouted ON ONLY public.deliveries USING btree (tenant_id, channel, refused_by, created_at) WHERE ((state = 'waiting'::text) AND (route IS NULL));

CREATE INDEX deliveries_unsent ON ONLY public.deliveries USING btree (campaign_month, campaign_id, contact_id, state) WHERE (state = ANY (ARRAY['failed'::text, 'suppressed'::text, 'cancelled'::text, 'ambiguous'::text, 'dead'::text]));

CREATE INDEX delivery_attempts_by_delivery ON public.delivery_attempts USING btree (delivery_id);

CREATE INDEX idempotent_requests_by_time ON public.idempotent_requests USING btree (created_at);

CREATE INDEX inbound_events_by_time ON public.inbound_events USING btree (received_at);

CREATE INDEX inbound_events_perhaps ON public.inbound_events USING btree (received_at) WHERE (consent = 'perhaps'::text);

CREATE INDEX inbound_events_unresolved ON public.inbound_events USING btree (received_at) WHERE (NOT resolved);

CREATE INDEX inbound_people_by_event ON public.inbound_people USING btree (event_id);

CREATE INDEX provider_notices_by_time ON public.provider_notices USING btree (received_at);

CREATE INDEX provider_notices_unresolved ON public.provider_notices USING btree (account_id) WHERE (outcome = 'unresolved'::text);

CREATE INDEX provider_statuses_waiting ON public.provider_statuses USING btree (provider_message_id) WHERE (NOT merged);

CREATE INDEX provider_statuses_waiting_by_time ON public.provider_statuses USING btree (at) WHERE (NOT merged);

CREATE INDEX tokens_by_key ON public.tokens USING btree (tenant_id, key_id) WHERE (key_id <> ''::text);

CREATE INDEX users_disabled ON public.users USING btree (state_changed_at) WHERE (state = 'disabled'::text);

CREATE INDEX webhook_endpoints_by_tenant ON public.webhook_endpoints USING btree (tenant_id, endpoint_id);

CREATE INDEX webhook_messages_by_endpoint ON public.webhook_messages USING btree (tenant_id, endpoint_id, number);

CREATE INDEX webhook_messages_by_tenant ON public.webhook_messages USING btree (tenant_id, number);

CREATE INDEX webhook_messages_by_time ON public.webhook_messages USING btree (created_at);

CREATE INDEX webhook_messages_due ON public.webhook_messages USING btree (endpoint_id, due_at) WHERE (state = 'pending'::text);

CREATE INDEX webhook_messages_failed ON public.webhook_messages USING btree (tenant_id, number) WHERE (state = 'failed'::text);

CREATE INDEX webhook_messages_in_order ON public.webhook_messages USING btree (endpoint_id, delivery_id, sequence) WHERE (state = 'pending'::text);

CREATE INDEX webhook_messages_waiting ON public.webhook_messages USING btree (queued_at) WHERE (state = 'pending'::text);

ALTER TABLE ONLY public.campaign_versions
    ADD CONSTRAINT campaign_versions_campaign_id_fkey FOREIGN KEY (campaign_id) REFERENCES public.campaigns(campaign_id);

ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT campaigns_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(tenant_id);

ALTER TABLE ONLY public.inbound_people
    ADD CONSTRAINT inbound_people_event_id_fkey FOREIGN KEY (event_id) REFERENCES public.inbound_events(event_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.quizzes
    ADD CONSTRAINT quizzes_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(tenant_id);

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.budget_bookings ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.budget_uses ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.budgets ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.campaign_rejections ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.campaign_versions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.campaigns ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.completions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.completions_apart ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.consent_words ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.contact_aliases ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.contacts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.dead_letters ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.deliveries ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.delivery_attempts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.duplicates ENABLE ROW LEVEL SECURITY;

CREATE POLICY every_tenant ON public.audit_log TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.budget_bookings TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.budget_uses TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.budgets TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.campaign_rejections TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.campaign_versions TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.campaigns TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.completions TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.completions_apart TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.consent_words TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.contact_aliases TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.contacts TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.dead_letters TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.deliveries TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.delivery_attempts TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.duplicates TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.idempotent_requests TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.inbound_events TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.inbound_people TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.outcomes TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.provider_notices TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.provider_statuses TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.quizzes TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.recovered_attempts TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.recovered_deliveries TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.routed_pools TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.sender_numbers TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.sending_releases TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.sending_stops TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.suppressions TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.tenants TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.tokens TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.users TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.visits TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.webhook_endpoints TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.webhook_keys TO quizstream USING (true) WITH CHECK (true);

CREATE POLICY every_tenant ON public.webhook_messages TO quizstream USING (true) WITH CHECK (true);

ALTER TABLE public.idempotent_requests ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inbound_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.inbound_people ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.outcomes ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_additions ON public.sending_stops AS RESTRICTIVE FOR INSERT TO quizstream_tenants WITH CHECK (by_tenant);

CREATE POLICY own_additions ON public.webhook_endpoints AS RESTRICTIVE FOR INSERT TO quizstream_tenants WITH CHECK ((held_reason = ''::text));

CREATE POLICY own_deletions ON public.sending_stops AS RESTRICTIVE FOR DELETE TO quizstream_tenants USING (by_tenant);

CREATE POLICY own_deletions ON public.webhook_endpoints AS RESTRICTIVE FOR DELETE TO quizstream_tenants USING ((held_reason = ''::text));

CREATE POLICY own_tenant ON public.audit_log TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.campaign_versions TO quizstream_tenants USING ((EXISTS ( SELECT
   FROM public.campaigns c
  WHERE ((c.campaign_id = campaign_versions.campaign_id) AND (c.tenant_id = public.current_tenant()))))) WITH CHECK ((EXISTS ( SELECT
   FROM public.campaigns c
  WHERE ((c.campaign_id = campaign_versions.campaign_id) AND (c.tenant_id = public.current_tenant())))));

CREATE POLICY own_tenant ON public.campaigns TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.completions TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.consent_words TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.contact_aliases TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.contacts TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.deliveries TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.delivery_attempts TO quizstream_tenants USING ((EXISTS ( SELECT
   FROM public.deliveries d
  WHERE ((d.delivery_id = delivery_attempts.delivery_id) AND (d.tenant_id = public.current_tenant()))))) WITH CHECK ((EXISTS ( SELECT
   FROM public.deliveries d
  WHERE ((d.delivery_id = delivery_attempts.delivery_id) AND (d.tenant_id = public.current_tenant())))));

CREATE POLICY own_tenant ON public.duplicates TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.idempotent_requests TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.outbox FOR INSERT TO quizstream_tenants WITH CHECK (((tenant_id = public.current_tenant()) AND (((topic = 'quizzes'::text) AND (EXISTS ( SELECT
   FROM public.quizzes q
  WHERE ((q.quiz_id = convert_from(outbox.key, 'UTF8'::name)) AND (q.tenant_id = public.current_tenant()))))) OR ((topic = 'campaigns'::text) AND (EXISTS ( SELECT
   FROM public.campaigns c
  WHERE ((c.campaign_id = split_part(convert_from(outbox.key, 'UTF8'::name), '|'::text, 1)) AND (c.tenant_id = public.current_tenant()))))) OR ((topic = 'tokens'::text) AND (EXISTS ( SELECT
   FROM public.tokens t
  WHERE ((t.token_hash = convert_from(outbox.key, 'UTF8'::name)) AND (t.tenant_id = public.current_tenant()))))) OR ((topic = 'tenants'::text) AND (convert_from(key, 'UTF8'::name) = public.current_tenant())))));

CREATE POLICY own_tenant ON public.outcomes TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.provider_statuses TO quizstream_tenants USING ((EXISTS ( SELECT
   FROM (public.delivery_attempts a
     JOIN public.deliveries d ON ((d.delivery_id = a.delivery_id)))
  WHERE ((a.attempt_id = provider_statuses.attempt_id) AND (d.tenant_id = public.current_tenant()))))) WITH CHECK ((EXISTS ( SELECT
   FROM (public.delivery_attempts a
     JOIN public.deliveries d ON ((d.delivery_id = a.delivery_id)))
  WHERE ((a.attempt_id = provider_statuses.attempt_id) AND (d.tenant_id = public.current_tenant())))));

CREATE POLICY own_tenant ON public.quizzes TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.sender_numbers TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.sending_stops TO quizstream_tenants USING (((scope = ('tenant:'::text || public.current_tenant())) OR ((scope ~~ 'campaign:%'::text) AND (EXISTS ( SELECT
   FROM public.campaigns c
  WHERE ((c.campaign_id = substr(sending_stops.scope, 10)) AND (c.tenant_id = public.current_tenant()))))) OR ((scope ~~ 'number:%'::text) AND (EXISTS ( SELECT
   FROM public.sender_numbers n
  WHERE ((n.number_id = substr(sending_stops.scope, 8)) AND (n.tenant_id = public.current_tenant()))))))) WITH CHECK (((scope = ('tenant:'::text || public.current_tenant())) OR ((scope ~~ 'campaign:%'::text) AND (EXISTS ( SELECT
   FROM public.campaigns c
  WHERE ((c.campaign_id = substr(sending_stops.scope, 10)) AND (c.tenant_id = public.current_tenant()))))) OR ((scope ~~ 'number:%'::text) AND (EXISTS ( SELECT
   FROM public.sender_numbers n
  WHERE ((n.number_id = substr(sending_stops.scope, 8)) AND (n.tenant_id = public.current_tenant())))))));

CREATE POLICY own_tenant ON public.suppressions TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.tenants TO quizstream_tenants USING (((tenant_id = public.current_tenant()) OR (public.current_tenant() = '*'::text))) WITH CHECK (((tenant_id = public.current_tenant()) OR (public.current_tenant() = '*'::text)));

CREATE POLICY own_tenant ON public.tokens TO quizstream_tenants USING (((tenant_id = public.current_tenant()) AND ((tenant_id <> '*'::text) OR (revoked_at IS NOT NULL)))) WITH CHECK (((tenant_id = public.current_tenant()) AND ((tenant_id <> '*'::text) OR (revoked_at IS NOT NULL))));

CREATE POLICY own_tenant ON public.users TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.visits TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.webhook_endpoints TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

CREATE POLICY own_tenant ON public.webhook_messages TO quizstream_tenants USING ((tenant_id = public.current_tenant())) WITH CHECK ((tenant_id = public.current_tenant()));

ALTER TABLE public.provider_notices ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.provider_statuses ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.quizzes ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.recovered_attempts ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.recovered_deliveries ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.routed_pools ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.sender_numbers ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.sending_releases ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.sending_stops ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.suppressions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.tokens ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.visits ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.webhook_endpoints ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.webhook_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.webhook_messages ENABLE ROW LEVEL SECURITY;
