-- create_outcomes_batch --
CREATE TEMPORARY TABLE IF NOT EXISTS outcomes_batch (
    ordinal       integer NOT NULL,
    day           integer NOT NULL,
    completion_id text NOT NULL,
    tenant_id     text NOT NULL,
    quiz_id       text NOT NULL,
    contact_id    text NOT NULL,
    accepted_at   bigint NOT NULL,
    verdict       text NOT NULL,
    reason        text NOT NULL,
    campaigns     text NOT NULL
) ON COMMIT DELETE ROWS;

-- clear_outcomes_batch --
DELETE FROM outcomes_batch;

-- copy_outcomes --
COPY outcomes_batch FROM STDIN (FORMAT binary);

-- merge_outcomes --
-- As for completions: one verdict an id, the first, also where a retry after midnight carries another day.
INSERT INTO outcomes (
    day, completion_id, tenant_id, quiz_id, contact_id, accepted_at, verdict, reason, campaigns
)
SELECT
    DATE '1970-01-01' + day, id, tenant_id, quiz_id, contact_id,
    to_timestamp(accepted_at / 1000.0), verdict, reason, campaigns::jsonb
FROM (
    SELECT DISTINCT ON (completion_id) *, completion_id::uuid AS id
    FROM outcomes_batch
    ORDER BY completion_id, ordinal
) AS batch
WHERE NOT EXISTS (
    SELECT FROM outcomes AS present
    WHERE present.day = DATE '1970-01-01' + batch.day - 1
      AND present.day BETWEEN %(first_day)s AND %(last_day)s
      AND present.completion_id = batch.id
    OFFSET 0
)
AND NOT EXISTS (
    SELECT FROM outcomes AS present
    WHERE present.day = DATE '1970-01-01' + batch.day + 1
      AND present.day BETWEEN %(first_day)s AND %(last_day)s
      AND present.completion_id = batch.id
    OFFSET 0
)
ORDER BY accepted_at
ON CONFLICT DO NOTHING;
