-- What a provider reports about accounts, numbers and templates, once each. Without personal data: words of the
-- provider, names of templates, the sender's own numbers. Deleted after `postgres.audit_log_days`.
CREATE TABLE provider_notices (
    notice_id   uuid PRIMARY KEY,
    provider    text NOT NULL,
    kind        text NOT NULL,
    event       text NOT NULL,
    account_id  text NOT NULL,
    number_id   text NOT NULL,
    phone       text NOT NULL,
    template    text NOT NULL,
    language    text NOT NULL,
    detail      text NOT NULL,
    effect      text NOT NULL,
    at          timestamptz NOT NULL,
    outcome     text NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX provider_notices_by_time ON provider_notices (received_at);
CREATE INDEX provider_notices_unresolved ON provider_notices (account_id) WHERE outcome = 'unresolved';

-- Of which account a number is, and how it is displayed: learned from its webhooks, so that a notice leads to it.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE sender_numbers ADD COLUMN account_id text;
ALTER TABLE sender_numbers ADD COLUMN display_phone text;
-- The limit of the number as the provider stated it last, and when.
ALTER TABLE sender_numbers ADD COLUMN provider_limit text;
ALTER TABLE sender_numbers ADD COLUMN provider_limit_at timestamptz;
