-- list_messages --
SELECT number, message_id, endpoint_id, delivery_id::text AS delivery_id, kind, state, attempts, last_error,
       CASE WHEN state = 'pending' THEN due_at END AS due_at, created_at, ended_at
FROM webhook_messages
WHERE tenant_id = %(tenant)s AND (%(before)s::bigint IS NULL OR number < %(before)s)
  AND (%(endpoint)s::text IS NULL OR endpoint_id = %(endpoint)s) AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY number DESC
LIMIT %(limit)s;

-- redeliver --
-- Of an endpoint that is still there. A message that is pending already stays as it is.
UPDATE webhook_messages AS m
SET state = 'pending', attempts = 0, last_error = '', lease = NULL, due_at = clock_timestamp(), queued_at = clock_timestamp(),
    ended_at = NULL
FROM webhook_endpoints AS e
WHERE m.tenant_id = %(tenant)s AND m.message_id = %(message)s AND m.state <> 'pending' AND e.endpoint_id = m.endpoint_id
RETURNING m.endpoint_id;

-- find_message --
SELECT state FROM webhook_messages WHERE tenant_id = %(tenant)s AND message_id = %(message)s;
