-- create_completions_batch --
-- Plain types: what is bad in a value then shows in the merge, under a savepoint, and COPY stays cheap.
CREATE TEMPORARY TABLE IF NOT EXISTS completions_batch (
    ordinal       integer NOT NULL,
    day           integer NOT NULL,
    completion_id text NOT NULL,
    tenant_id     text NOT NULL,
    quiz_id       text NOT NULL,
    quiz_version  integer NOT NULL,
    contact_id    text NOT NULL,
    submitted_at  bigint NOT NULL,
    accepted_at   bigint NOT NULL,
    answers       text NOT NULL,
    score         double precision,
    region        text NOT NULL
) ON COMMIT DELETE ROWS;

-- clear_completions_batch --
-- A batch that is written in parts, within one transaction, must not see the part before.
DELETE FROM completions_batch;

-- copy_completions --
COPY completions_batch FROM STDIN (FORMAT binary);

-- merge_completions --
-- The first payload of an id wins. The neighbouring days are looked at because a retry after midnight may carry
-- another day (the same day is the conflict's). The days' bounds are constants, so that the planner drops all other
-- partitions; OFFSET 0 keeps it from joining whole partitions to the batch: two probes of an index a row, however
-- large a day has grown.
INSERT INTO completions (
    day, completion_id, tenant_id, quiz_id, quiz_version, contact_id,
    submitted_at, accepted_at, answers, score, region
)
SELECT
    DATE '1970-01-01' + day, id, tenant_id, quiz_id, quiz_version, contact_id,
    to_timestamp(submitted_at / 1000.0), to_timestamp(accepted_at / 1000.0), answers::jsonb, score, region
FROM (
    SELECT DISTINCT ON (completion_id) *, completion_id::uuid AS id
    FROM completions_batch
    ORDER BY completion_id, ordinal
) AS batch
WHERE NOT EXISTS (
    SELECT FROM completions AS present
    WHERE present.day = DATE '1970-01-01' + batch.day - 1
      AND present.day BETWEEN %(first_day)s AND %(last_day)s
      AND present.completion_id = batch.id
    OFFSET 0
)
AND NOT EXISTS (
    SELECT FROM completions AS present
    WHERE present.day = DATE '1970-01-01' + batch.day + 1
      AND present.day BETWEEN %(first_day)s AND %(last_day)s
      AND present.completion_id = batch.id
    OFFSET 0
)
ORDER BY accepted_at
ON CONFLICT DO NOTHING;
