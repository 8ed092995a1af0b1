-- expire --
-- In steps. One whose endpoint was deleted, disabled or paused for long ends here too. What is in flight has a result, or its lease
-- ends: nobody settles it then, and it expires in a later step.
UPDATE webhook_messages
SET state = 'failed', lease = NULL, ended_at = clock_timestamp(),
    last_error = CASE WHEN last_error = '' THEN 'expired' ELSE 'expired: ' || last_error END
WHERE message_id IN (
    SELECT message_id FROM webhook_messages
    WHERE state = 'pending' AND queued_at < clock_timestamp() - make_interval(hours => %(hours)s)
      AND (lease IS NULL OR due_at <= clock_timestamp())
    ORDER BY queued_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
);

-- try_lock --
-- Two processes at once would give up the same surplus twice.
SELECT pg_try_advisory_xact_lock(%s);

-- waiting --
-- From one endpoint to the next in the index: so endpoints that were deleted count too.
WITH RECURSIVE endpoints AS (
    (SELECT endpoint_id, tenant_id FROM webhook_messages WHERE state = 'pending' ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT following.endpoint_id, following.tenant_id
    FROM endpoints AS e
    CROSS JOIN LATERAL (
        SELECT m.endpoint_id, m.tenant_id FROM webhook_messages AS m
        WHERE m.state = 'pending' AND m.endpoint_id > e.endpoint_id
        ORDER BY m.endpoint_id LIMIT 1
    ) AS following
)
SELECT e.endpoint_id, e.tenant_id, counted.messages
FROM endpoints AS e
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS messages FROM webhook_messages AS m WHERE m.endpoint_id = e.endpoint_id AND m.state = 'pending'
) AS counted;

-- give_up --
-- The oldest first, and none that is in flight.
WITH oldest AS (
    SELECT message_id FROM webhook_messages
    WHERE endpoint_id = %(endpoint)s AND state = 'pending' AND (lease IS NULL OR due_at <= clock_timestamp())
    ORDER BY queued_at, sequence LIMIT %(rows)s FOR UPDATE SKIP LOCKED
), given_up AS (
    UPDATE webhook_messages AS m
    SET state = 'failed', lease = NULL, ended_at = clock_timestamp(), last_error = %(why)s
    FROM oldest
    WHERE m.message_id = oldest.message_id
    RETURNING m.message_id
), shown AS (
    UPDATE webhook_endpoints
    SET given_up = given_up + (SELECT count(*) FROM given_up), given_up_at = clock_timestamp()
    WHERE endpoint_id = %(endpoint)s AND EXISTS (SELECT FROM given_up)
)
SELECT count(*)::integer FROM given_up;

-- backlog --
-- Counts up to a limit: the metric is for operators, and the table may be large. Failing are endpoints that are called. Late is what
-- waits for no back-off: of an endpoint that fails or is paused it has a reason to wait.
SELECT (SELECT count(*) FROM (SELECT FROM webhook_messages WHERE state = 'pending' LIMIT %(rows)s) AS counted)::integer AS waiting,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(m.queued_at))
                 FROM webhook_messages AS m WHERE m.state = 'pending'), 0)::double precision AS oldest_s,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(e.failing_since))
                 FROM webhook_endpoints AS e WHERE e.state = 'active' AND e.held_reason = ''), 0)::double precision AS failing_s,
       coalesce((SELECT max(extract(epoch FROM clock_timestamp() - first.due_at))
                 FROM webhook_endpoints AS e
                 CROSS JOIN LATERAL (
                     SELECT m.due_at FROM webhook_messages AS m WHERE m.endpoint_id = e.endpoint_id AND m.state = 'pending'
                     ORDER BY m.due_at LIMIT 1
                 ) AS first
                 WHERE e.state = 'active' AND e.held_reason = '' AND e.failing_since IS NULL
                   AND first.due_at <= clock_timestamp()), 0)::double precision AS late_s,
       sending_is_permitted() AS permitted;
