-- How far each visit of a quiz came, merged from its reports (sinks/visits/visit.py). Without personal data: a visit's id is
-- made at random by the page, and no completion has it. Deleted after `retention.visit_days`.
CREATE TABLE visits (
    day           date NOT NULL,        -- of the visit: a function of its id
    quiz_id       text NOT NULL,
    visit_id      uuid NOT NULL,
    tenant_id     text NOT NULL,
    quiz_version  integer NOT NULL,
    furthest      integer NOT NULL,     -- position of a question, from 1; 0: none
    question_id   text NOT NULL,        -- which question that is; empty where the quiz has no list of questions
    progressed    boolean NOT NULL,
    active_at     timestamptz,          -- by the client's clock, as abandoned_at and completed_at
    abandoned_at  timestamptz,
    completed_at  timestamptz,
    first_seen_at timestamptz NOT NULL, -- by the edge's clock
    last_seen_at  timestamptz NOT NULL,
    state         text GENERATED ALWAYS AS (
        CASE
            WHEN completed_at IS NOT NULL THEN 'completed'
            WHEN abandoned_at IS NOT NULL AND active_at > abandoned_at THEN 'progressed'
            WHEN abandoned_at IS NOT NULL THEN 'abandoned'
            WHEN progressed THEN 'progressed'
            ELSE 'started'
        END
    ) STORED,
    PRIMARY KEY (day, quiz_id, visit_id)
) PARTITION BY RANGE (day);
