-- One person under several ids: an alias leads to a contact. Ids are keyed hashes, as contact ids are; nothing here is
-- personal data. `alias` is the hash of a provider's id, or (is_contact) the contact id of another phone of the person.
-- Contacts that prove to be one get a row each, and lead to one of them; no alias leads to an alias.
CREATE TABLE contact_aliases (
    tenant_id  text NOT NULL,
    alias      text NOT NULL,
    contact_id text NOT NULL,
    is_contact boolean NOT NULL,
    source     text NOT NULL,
    learned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, alias)
);

CREATE INDEX contact_aliases_by_contact ON contact_aliases (tenant_id, contact_id);

-- Every contact id of the person: the given one alone where it is the only one.
CREATE FUNCTION same_person(tenant text, contact text) RETURNS SETOF text LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce((SELECT a.contact_id FROM contact_aliases AS a WHERE a.tenant_id = tenant AND a.alias = contact),
                    contact)
    UNION ALL
    SELECT a.alias
    FROM contact_aliases AS a
    WHERE a.tenant_id = tenant
      AND a.is_contact
      AND a.contact_id = coalesce(
          (SELECT b.contact_id FROM contact_aliases AS b WHERE b.tenant_id = tenant AND b.alias = contact), contact
      );
END;

-- A suppression may be lifted: the decision with the latest time counts, in whatever order decisions come. A lifted row
-- stays, so that an older opt-out that comes late changes nothing.
ALTER TABLE suppressions ADD COLUMN decided_at timestamptz;
ALTER TABLE suppressions ADD COLUMN lifted boolean NOT NULL DEFAULT false;
UPDATE suppressions SET decided_at = created_at;
ALTER TABLE suppressions ALTER COLUMN decided_at SET DEFAULT clock_timestamp();
ALTER TABLE suppressions ALTER COLUMN decided_at SET NOT NULL;

-- What people wrote and changed at a provider. `text` is personal data. Deleted after `postgres.inbound_days`; an
-- opt-out or opt-in of somebody unknown, without its text, after `postgres.audit_log_days`.
CREATE TABLE inbound_events (
    event_id    uuid PRIMARY KEY,
    provider    text NOT NULL,
    number_id   text NOT NULL,
    kind        text NOT NULL,
    consent     text CHECK (consent IN ('stop', 'resume', 'perhaps')),
    at          timestamptz NOT NULL,
    reply_to    text,
    text        text,
    reason      text NOT NULL DEFAULT '',
    resolved    boolean NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX inbound_events_by_time ON inbound_events (received_at);
CREATE INDEX inbound_events_unresolved ON inbound_events (received_at) WHERE NOT resolved;
CREATE INDEX inbound_events_perhaps ON inbound_events (received_at) WHERE consent = 'perhaps';

-- Whose they are; of those that are nobody's yet, the aliases that would say so.
CREATE TABLE inbound_people (
    tenant_id text NOT NULL,
    person    text NOT NULL,
    event_id  uuid NOT NULL REFERENCES inbound_events ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, person, event_id)
);

CREATE INDEX inbound_people_by_event ON inbound_people (event_id);

-- A tenant's own words, beside the built-in ones; normalised.
CREATE TABLE consent_words (
    tenant_id text NOT NULL,
    language  text NOT NULL,
    phrase    text NOT NULL,
    consent   text NOT NULL CHECK (consent IN ('stop', 'resume')),
    PRIMARY KEY (tenant_id, language, phrase)
);

-- When the contact's name and e-mail were last stated; null for rows of before, where `seen_at` says it.
ALTER TABLE contacts ADD COLUMN name_at timestamptz;
ALTER TABLE contacts ADD COLUMN email_at timestamptz;

-- Whether what is stated at `stated_at` (null: nothing is) replaces a value; one from the future is of a wrong clock.
CREATE FUNCTION is_newer(is_there boolean, kept_at timestamptz, stated_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN stated_at IS NOT NULL AND (NOT is_there OR kept_at < stated_at OR kept_at > now());
