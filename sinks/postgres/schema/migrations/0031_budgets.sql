-- Budgets: so many uses in any moving 24 h. 'portfolio:ID' counts people, over all numbers of a Meta portfolio;
-- 'number:ID' counts messages of a session number, whose limit grows from its first message on.
CREATE TABLE budgets (
    budget_id       text PRIMARY KEY,
    uses_max        integer CHECK (uses_max >= 0),  -- of an operator
    uses            integer NOT NULL DEFAULT 0,
    booked          integer NOT NULL DEFAULT 0,
    booked_priority integer NOT NULL DEFAULT 0,
    began_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A row for each call in the window. Of a subject's calls the newest `counts`: the subject is in the window until it leaves.
CREATE TABLE budget_uses (
    attempt_id uuid NOT NULL,
    budget_id  text NOT NULL,
    subject    text NOT NULL,  -- the person, or the attempt
    used_at    timestamptz NOT NULL,
    counts     boolean NOT NULL,
    PRIMARY KEY (attempt_id, budget_id)
);

CREATE INDEX budget_uses_by_time ON budget_uses (budget_id, used_at);
CREATE INDEX budget_uses_by_subject ON budget_uses (budget_id, subject);

-- Deliveries that wait for a place in a budget.
CREATE TABLE budget_bookings (
    campaign_month date NOT NULL,
    campaign_id    text NOT NULL,
    contact_id     text NOT NULL,
    tenant_id      text NOT NULL,
    budget_id      text NOT NULL,
    due_at         timestamptz NOT NULL,
    PRIMARY KEY (campaign_month, campaign_id, contact_id)
);

CREATE INDEX budget_bookings_by_due ON budget_bookings (budget_id, due_at);

SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

-- The portfolio of a number where its account does not say it, what the provider stated last about its limit of people
-- (NULL: unlimited) and when (NULL: never), and a session number's own daily limit.
ALTER TABLE sender_numbers
    ADD COLUMN portfolio_id text,
    ADD COLUMN people_max integer,
    ADD COLUMN people_max_at timestamptz,
    ADD COLUMN messages_per_day integer,
    ADD COLUMN coexistence boolean NOT NULL DEFAULT false;

-- The budget of a number; NULL where its portfolio is not known.
CREATE FUNCTION budget_of(number sender_numbers, sessions text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (number).provider = ANY (sessions) THEN 'number:' || (number).number_id
                ELSE 'portfolio:' || coalesce((number).portfolio_id, (number).account_id) END;

-- What the provider stated last for any number of the portfolio; NULL: unlimited, or nothing. A notice without a limit of
-- people states nothing about it.
CREATE FUNCTION reported_people_max(portfolio text) RETURNS integer
    LANGUAGE sql STABLE
    RETURN (SELECT n.people_max FROM sender_numbers AS n
            WHERE coalesce(n.portfolio_id, n.account_id) = portfolio AND n.people_max_at IS NOT NULL
            ORDER BY n.people_max_at DESC, n.number_id
            LIMIT 1);

-- Session numbers that are in use already are as old as their row.
INSERT INTO budgets (budget_id, began_at)
SELECT 'number:' || number_id, created_at FROM sender_numbers WHERE provider IN ('uazapi', 'evolution');
