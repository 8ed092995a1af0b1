-- lock_tenant_endpoints --
-- Two creations at once wait for each other, so that the tenant's limit holds.
SELECT pg_advisory_xact_lock(hashtextextended('webhook_endpoints:' || %s, 0));

-- count_endpoints --
SELECT count(*) FROM webhook_endpoints WHERE tenant_id = %s;

-- endpoint_of_url --
SELECT endpoint_id FROM webhook_endpoints WHERE tenant_id = %(tenant)s AND url = %(url)s AND endpoint_id <> %(endpoint)s LIMIT 1;

-- insert_endpoint --
INSERT INTO webhook_endpoints (endpoint_id, tenant_id, url, kinds, description, state, state_reason, salt)
VALUES (%(endpoint)s, %(tenant)s, %(url)s, %(kinds)s, %(description)s, %(state)s, %(state_reason)s, %(salt)s);

-- find_endpoint --
SELECT endpoint_id, url, kinds, description, state, state_reason, held_reason, failing_since,
       CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_secret_until, created_at,
       given_up, given_up_at
FROM webhook_endpoints
WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s;

-- lock_endpoint --
SELECT endpoint_id, url, kinds, description, state, state_reason, held_reason, failing_since,
       CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_secret_until, created_at,
       given_up, given_up_at
FROM webhook_endpoints
WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s
FOR UPDATE;

-- list_endpoints --
SELECT endpoint_id, url, kinds, description, state, state_reason, held_reason, failing_since,
       CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_secret_until, created_at,
       given_up, given_up_at
FROM webhook_endpoints
WHERE tenant_id = %(tenant)s AND endpoint_id > %(after)s
ORDER BY endpoint_id
LIMIT %(limit)s;

-- change_endpoint --
-- One that is enabled or has moved begins anew: what it failed at before counts no more.
UPDATE webhook_endpoints
SET url = %(url)s, kinds = %(kinds)s, description = %(description)s, state = %(state)s, state_reason = %(state_reason)s,
    failing_since = CASE WHEN state = %(state)s AND url = %(url)s THEN failing_since END
WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s;

-- delete_endpoint --
-- Its messages stay as long as all messages do, and are sent no more.
DELETE FROM webhook_endpoints WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s;

-- rotate_secret --
UPDATE webhook_endpoints
SET previous_salt = salt, previous_until = clock_timestamp() + make_interval(secs => %(overlap_s)s), salt = %(salt)s
WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s;

-- tenant_of_endpoint --
SELECT tenant_id FROM webhook_endpoints WHERE endpoint_id = %s;

-- hold_endpoint --
UPDATE webhook_endpoints SET held_reason = %(reason)s WHERE endpoint_id = %(endpoint)s AND held_reason <> %(reason)s;
