-- erase_payloads --
-- In the order of the index of rows that still have their record; rows that another process has locked are passed over.
UPDATE dead_letters AS d
SET key = NULL, value = NULL, payload_erased_at = clock_timestamp()
FROM (
    SELECT dead_letter_id
    FROM dead_letters
    WHERE payload_erased_at IS NULL AND failed_at < now() - %(age)s
    ORDER BY failed_at
    LIMIT %(rows)s
    FOR UPDATE SKIP LOCKED
) AS due
WHERE d.dead_letter_id = due.dead_letter_id
RETURNING CASE
    WHEN d.redriven_at IS NOT NULL THEN 'redriven'
    WHEN d.quarantined_at IS NOT NULL THEN 'quarantined'
    ELSE 'open'
END;

-- delete_rows --
-- A letter that was not redriven is all that accounts for its completion, so it stays while the archive or the verdicts
-- reach back to it. A completion's day is at most one day after the day of its letter.
DELETE FROM dead_letters
WHERE dead_letter_id IN (
    SELECT dead_letter_id
    FROM dead_letters
    WHERE failed_at < now() - %(age)s
      AND (
          redriven_at IS NOT NULL
          OR completion_id IS NULL
          OR failed_at < coalesce(
              least((SELECT min(day) FROM completions), (SELECT min(day) FROM outcomes)) - 1, 'infinity'::date
          )
      )
    ORDER BY failed_at
    LIMIT %(rows)s
    FOR UPDATE SKIP LOCKED
);
