-- due_endpoints --
-- None without the sending permit: a restored copy of the database holds messages that were sent since.
SELECT e.endpoint_id, e.tenant_id, e.url, e.salt,
       CASE WHEN e.previous_until > clock_timestamp() THEN e.previous_salt END AS previous_salt
FROM webhook_endpoints AS e
WHERE e.state = 'active' AND e.held_reason = '' AND (SELECT sending_is_permitted())
  AND EXISTS (
      SELECT FROM webhook_messages AS m
      WHERE m.endpoint_id = e.endpoint_id AND m.state = 'pending' AND m.due_at <= clock_timestamp()
  );

-- claim --
-- Of a delivery only the earliest message that has not ended: so its events arrive in order. Ones that another process claims at
-- the same moment are skipped.
WITH due AS (
    SELECT chosen.message_id
    FROM unnest(%(endpoints)s::text[], %(rooms)s::integer[]) AS e (endpoint_id, room)
    CROSS JOIN LATERAL (
        SELECT m.message_id
        FROM webhook_messages AS m
        WHERE m.endpoint_id = e.endpoint_id AND m.state = 'pending' AND m.due_at <= clock_timestamp()
          AND (SELECT sending_is_permitted())
          AND NOT EXISTS (
              SELECT FROM webhook_messages AS earlier
              WHERE earlier.endpoint_id = m.endpoint_id AND earlier.delivery_id = m.delivery_id
                AND earlier.sequence < m.sequence AND earlier.state = 'pending'
          )
        ORDER BY m.due_at
        LIMIT e.room
        FOR UPDATE SKIP LOCKED
    ) AS chosen
)
UPDATE webhook_messages AS m
SET lease = %(lease)s, due_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM due
WHERE m.message_id = due.message_id
RETURNING m.message_id, m.endpoint_id, m.tenant_id, m.kind, m.content, m.attempts, m.lease::text AS lease;

-- settle_delivered --
-- By the lease: a process that lost its message meanwhile changes nothing.
UPDATE webhook_messages AS m
SET state = 'delivered', attempts = attempts + 1, last_error = '', lease = NULL, ended_at = clock_timestamp()
FROM unnest(%(messages)s::text[], %(leases)s::uuid[]) AS r (message_id, lease)
WHERE m.message_id = r.message_id AND m.lease = r.lease
RETURNING m.message_id;

-- settle_failed --
-- Without a wait it has failed for good. What follows of the same delivery is not due before it. By the lease too.
WITH failed AS (
    UPDATE webhook_messages AS m
    SET state = CASE WHEN r.wait_s IS NULL THEN 'failed' ELSE 'pending' END, attempts = attempts + 1, last_error = r.error,
        lease = NULL, due_at = clock_timestamp() + make_interval(secs => coalesce(r.wait_s, 0)),
        ended_at = CASE WHEN r.wait_s IS NULL THEN clock_timestamp() END
    FROM unnest(%(messages)s::text[], %(leases)s::uuid[], %(errors)s::text[], %(waits)s::double precision[])
         AS r (message_id, lease, error, wait_s)
    WHERE m.message_id = r.message_id AND m.lease = r.lease
    RETURNING m.message_id, m.endpoint_id, m.delivery_id, m.sequence, m.state, m.due_at
), put_off AS (
    UPDATE webhook_messages AS later
    SET due_at = failed.due_at
    FROM failed
    WHERE failed.state = 'pending' AND later.endpoint_id = failed.endpoint_id AND later.delivery_id = failed.delivery_id
      AND later.sequence > failed.sequence AND later.state = 'pending' AND later.due_at < failed.due_at
)
SELECT message_id FROM failed;

-- settle_released --
-- Not called, or broken off by a stop: due at once, for the next process.
UPDATE webhook_messages AS m
SET lease = NULL, due_at = clock_timestamp()
FROM unnest(%(messages)s::text[], %(leases)s::uuid[]) AS r (message_id, lease)
WHERE m.message_id = r.message_id AND m.lease = r.lease;

-- endpoints_succeeded --
UPDATE webhook_endpoints SET failing_since = NULL WHERE endpoint_id = ANY (%(endpoints)s) AND failing_since IS NOT NULL;

-- endpoints_failed --
-- Begins the time of failures, and ends in a disabled endpoint when it has lasted too long.
UPDATE webhook_endpoints
SET failing_since = coalesce(failing_since, clock_timestamp()),
    state = CASE WHEN failing_since IS NULL THEN state ELSE 'disabled' END,
    state_reason = CASE WHEN failing_since IS NULL THEN state_reason ELSE %(reason)s END
WHERE endpoint_id = ANY (%(endpoints)s) AND state = 'active'
  AND (failing_since IS NULL OR failing_since < clock_timestamp() - make_interval(hours => %(hours)s))
RETURNING endpoint_id, tenant_id, state;

-- disable_gone --
-- Unless its tenant has given it another URL meanwhile.
UPDATE webhook_endpoints AS e
SET state = 'disabled', state_reason = %(reason)s
FROM unnest(%(endpoints)s::text[], %(urls)s::text[]) AS r (endpoint_id, url)
WHERE e.endpoint_id = r.endpoint_id AND e.url = r.url AND e.state = 'active'
RETURNING e.endpoint_id, e.tenant_id, e.state;
