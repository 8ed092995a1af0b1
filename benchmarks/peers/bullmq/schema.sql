-- What such a funnel keeps: a row a completion, a row a delivery, unique by whom it is for.

CREATE TABLE quizzes (
    quiz_id   text PRIMARY KEY,
    questions text[] NOT NULL
);

CREATE TABLE campaigns (
    campaign_id text PRIMARY KEY,
    quiz_id     text NOT NULL REFERENCES quizzes,
    conditions  jsonb NOT NULL,
    template    text NOT NULL
);

-- A page keeps room for the verdict, which then moves no index entry.
CREATE TABLE completions (
    id           uuid PRIMARY KEY,
    quiz_id      text NOT NULL,
    phone        text NOT NULL,
    answers      jsonb NOT NULL,
    accepted_at  timestamptz NOT NULL DEFAULT now(),
    verdict      text,
    processed_at timestamptz
) WITH (fillfactor = 80);

CREATE TABLE deliveries (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    campaign_id         text NOT NULL,
    phone               text NOT NULL,
    completion_id       uuid NOT NULL,
    state               text NOT NULL DEFAULT 'queued',
    created_at          timestamptz NOT NULL DEFAULT now(),
    provider_message_id text,
    sent_at             timestamptz,
    UNIQUE (campaign_id, phone)
);
