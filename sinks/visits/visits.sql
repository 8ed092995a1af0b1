-- create_visits_batch --
CREATE TEMPORARY TABLE IF NOT EXISTS visits_batch (
    day           integer NOT NULL,
    quiz_id       text NOT NULL,
    visit_id      text NOT NULL,
    tenant_id     text NOT NULL,
    quiz_version  integer NOT NULL,
    furthest      integer NOT NULL,
    question_id   text NOT NULL,
    progressed    boolean NOT NULL,
    active_at     bigint,
    abandoned_at  bigint,
    completed_at  bigint,
    first_seen_at bigint NOT NULL,
    last_seen_at  bigint NOT NULL
) ON COMMIT DELETE ROWS;

-- clear_visits_batch --
DELETE FROM visits_batch;

-- copy_visits --
COPY visits_batch FROM STDIN (FORMAT binary);

-- merge_visits --
-- As `Visit.merge`: every column only grows or only shrinks, so that order and repeats change nothing. greatest and least
-- pass NULL over. A row that would stay as it is, is not written. Sorted by key, as every merge of several rows.
INSERT INTO visits AS v (
    day, quiz_id, visit_id, tenant_id, quiz_version, furthest, question_id, progressed,
    active_at, abandoned_at, completed_at, first_seen_at, last_seen_at
)
SELECT
    DATE '1970-01-01' + day, quiz_id, visit_id::uuid, tenant_id, quiz_version, furthest, question_id, progressed,
    to_timestamp(active_at / 1000.0), to_timestamp(abandoned_at / 1000.0), to_timestamp(completed_at / 1000.0),
    to_timestamp(first_seen_at / 1000.0), to_timestamp(last_seen_at / 1000.0)
FROM visits_batch
ORDER BY 1, 2, 3
ON CONFLICT (day, quiz_id, visit_id) DO UPDATE
SET quiz_version = greatest(v.quiz_version, excluded.quiz_version),
    furthest = greatest(v.furthest, excluded.furthest),
    question_id = CASE WHEN (excluded.furthest, excluded.question_id COLLATE "C") > (v.furthest, v.question_id COLLATE "C")
                       THEN excluded.question_id ELSE v.question_id END,
    progressed = v.progressed OR excluded.progressed,
    active_at = greatest(v.active_at, excluded.active_at),
    abandoned_at = greatest(v.abandoned_at, excluded.abandoned_at),
    completed_at = least(v.completed_at, excluded.completed_at),
    first_seen_at = least(v.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(v.last_seen_at, excluded.last_seen_at)
WHERE v.quiz_version < excluded.quiz_version
   OR (v.furthest, v.question_id COLLATE "C") < (excluded.furthest, excluded.question_id COLLATE "C")
   OR v.progressed < excluded.progressed
   OR coalesce(v.active_at, '-infinity') < excluded.active_at
   OR coalesce(v.abandoned_at, '-infinity') < excluded.abandoned_at
   OR coalesce(v.completed_at, 'infinity') > excluded.completed_at
   OR v.first_seen_at > excluded.first_seen_at
   OR v.last_seen_at < excluded.last_seen_at;
