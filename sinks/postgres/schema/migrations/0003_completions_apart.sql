-- Completions filed on a day that is not next to the day they came in: a client handed in what it had kept, or a backfill.
-- The merge looks at neighbouring days only; an id in here has its row further off, and must not get another.
CREATE TABLE completions_apart (
    completion_id uuid PRIMARY KEY,
    day           date NOT NULL
);
