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
    region        text NOT NULL,
    clock_ahead_ms bigint NOT NULL,
    consent_granted boolean,
    consent_text  text
) ON COMMIT DELETE ROWS;

-- clear_completions_batch --
-- A batch that is written in parts, within one transaction, must not see the part before.
DELETE FROM completions_batch;

-- copy_completions --
COPY completions_batch FROM STDIN (FORMAT binary);

-- merge_completions --
-- The first payload of an id wins, on whatever day it is filed. A retry may carry another day, so that three things are
-- looked at: the neighbouring days (a retry after midnight; the same day is the conflict's), the ids that are filed apart from
-- the day they came in, and, for a row that is itself to be filed apart, the days on which its id may have come before.
-- The days' bounds are constants, so that the planner drops all other partitions; OFFSET 0 keeps it from joining
-- whole partitions to the batch: a few probes of an index a row, however large a day has grown.
WITH batch AS (
    SELECT DISTINCT ON (completion_id) *,
        completion_id::uuid AS id,
        DATE '1970-01-01' + day AS filed_on,
        DATE '1970-01-01' + (accepted_at / 86400000)::integer AS came_on
    FROM completions_batch
    ORDER BY completion_id, ordinal
), merged AS (
    INSERT INTO completions (
        day, completion_id, tenant_id, quiz_id, quiz_version, contact_id,
        submitted_at, accepted_at, answers, score, region, clock_ahead_ms,
        consent_granted, consent_text
    )
    SELECT
        filed_on, id, tenant_id, quiz_id, quiz_version, contact_id,
        to_timestamp(submitted_at / 1000.0), to_timestamp(accepted_at / 1000.0), answers::jsonb, score, region,
        clock_ahead_ms, consent_granted, consent_text
    FROM batch
    WHERE NOT EXISTS (
        SELECT FROM completions AS present
        WHERE present.day = batch.filed_on - 1
          AND present.day BETWEEN %(first_day)s AND %(last_day)s
          AND present.completion_id = batch.id
        OFFSET 0
    )
    AND NOT EXISTS (
        SELECT FROM completions AS present
        WHERE present.day = batch.filed_on + 1
          AND present.day BETWEEN %(first_day)s AND %(last_day)s
          AND present.completion_id = batch.id
        OFFSET 0
    )
    AND NOT EXISTS (SELECT FROM completions_apart AS apart WHERE apart.completion_id = batch.id OFFSET 0)
    AND (
        abs(filed_on - came_on) <= 1
        OR NOT EXISTS (
            SELECT FROM completions AS present
            WHERE present.day BETWEEN batch.came_on - %(retried_days_max)s::integer AND batch.came_on + 1
              AND present.completion_id = batch.id
            OFFSET 0
        )
    )
    ORDER BY accepted_at
    ON CONFLICT DO NOTHING
    RETURNING completion_id, day
), apart AS (
    INSERT INTO completions_apart (completion_id, day)
    SELECT merged.completion_id, merged.day
    FROM merged JOIN batch ON batch.id = merged.completion_id
    WHERE abs(batch.filed_on - batch.came_on) > 1
    ON CONFLICT DO NOTHING
)
SELECT completion_id::text FROM merged;
