-- lock_tenant_users --
-- Changes of one tenant's users come one after the other, so that its limit and its last owner hold.
SELECT pg_advisory_xact_lock(hashtextextended('users:' || %s, 0));

-- count_users --
SELECT count(*) FROM users WHERE tenant_id = %s;

-- has_email --
SELECT 1 FROM users WHERE tenant_id = %(tenant)s AND email = %(email)s;

-- other_owners --
SELECT count(*) FROM users
WHERE tenant_id = %(tenant)s AND role = 'owner' AND state = 'active' AND user_id <> %(user)s;

-- insert_user --
INSERT INTO users (tenant_id, user_id, email, role, password_hash)
VALUES (%(tenant)s, %(user)s, %(email)s, %(role)s, %(hash)s);

-- find_user --
SELECT user_id, email, role, state, state_changed_at, password_changed_at, created_at
FROM users
WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- lock_user --
SELECT user_id, email, role, state, state_changed_at, password_changed_at, created_at
FROM users
WHERE tenant_id = %(tenant)s AND user_id = %(user)s
FOR UPDATE;

-- list_users --
SELECT user_id, email, role, state, state_changed_at, password_changed_at, created_at
FROM users
WHERE tenant_id = %(tenant)s AND user_id > %(after)s
ORDER BY user_id
LIMIT %(limit)s;

-- change_role --
UPDATE users SET role = %(role)s WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- change_state --
UPDATE users SET state = %(state)s, state_changed_at = clock_timestamp()
WHERE tenant_id = %(tenant)s AND user_id = %(user)s;

-- change_password --
UPDATE users SET password_hash = %(hash)s, password_changed_at = clock_timestamp()
WHERE tenant_id = %(tenant)s AND user_id = %(user)s;
