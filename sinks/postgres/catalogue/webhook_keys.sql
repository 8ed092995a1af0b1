-- lock_number --
-- Two rotations of one number come one after the other.
SELECT n.provider, n.tenant_id, k.provider AS key_provider, k.version, k.key_hash, k.former_hash,
       (extract(epoch FROM k.former_until) * 1000)::bigint AS former_until, k.changed_at
FROM sender_numbers AS n
LEFT JOIN webhook_keys AS k USING (number_id)
WHERE n.number_id = %s
FOR UPDATE OF n;

-- get_number --
SELECT n.provider, n.tenant_id, k.provider AS key_provider, k.version, k.key_hash, k.former_hash,
       (extract(epoch FROM k.former_until) * 1000)::bigint AS former_until, k.changed_at
FROM sender_numbers AS n
LEFT JOIN webhook_keys AS k USING (number_id)
WHERE n.number_id = %s;

-- save_key --
INSERT INTO webhook_keys (number_id, provider, version, key_hash, former_hash, former_until)
VALUES (%(number)s, %(provider)s, %(version)s, %(hash)s, %(former_hash)s,
        to_timestamp(%(former_until)s::bigint / 1000.0))
ON CONFLICT (number_id) DO UPDATE
SET provider = excluded.provider, version = excluded.version, key_hash = excluded.key_hash,
    former_hash = excluded.former_hash, former_until = excluded.former_until, changed_at = excluded.changed_at;
