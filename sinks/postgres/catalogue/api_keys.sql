-- insert_key --
INSERT INTO tokens (token_hash, tenant_id, kind, version, key_id, name, role, scopes, expires_at)
VALUES (%(hash)s, %(tenant)s, 'service', 1, %(key)s, %(name)s, %(role)s, %(scopes)s,
        to_timestamp(%(expires_at)s::bigint / 1000.0));

-- lock_key --
SELECT token_hash, key_id, name, role, scopes, (extract(epoch FROM expires_at) * 1000)::bigint AS expires_at, version,
       revoked_at IS NOT NULL AS revoked, created_at
FROM tokens
WHERE tenant_id = %(tenant)s AND key_id = %(key)s AND key_id <> ''
FOR UPDATE;

-- change_key --
UPDATE tokens
SET version = %(version)s, expires_at = to_timestamp(%(expires_at)s::bigint / 1000.0),
    revoked_at = CASE WHEN %(revoked)s THEN coalesce(revoked_at, clock_timestamp()) END
WHERE token_hash = %(hash)s;

-- find_key --
SELECT key_id, name, role, scopes, expires_at, revoked_at, created_at
FROM tokens
WHERE tenant_id = %(tenant)s AND key_id = %(key)s AND key_id <> '';

-- list_keys --
SELECT key_id, name, role, scopes, expires_at, revoked_at, created_at
FROM tokens
WHERE tenant_id = %(tenant)s AND key_id > %(after)s
ORDER BY key_id
LIMIT %(limit)s;

-- revoke_signed --
INSERT INTO tokens (token_hash, tenant_id, kind, version, revoked_at)
VALUES (%(hash)s, %(tenant)s, 'service', 1, clock_timestamp())
ON CONFLICT DO NOTHING;
