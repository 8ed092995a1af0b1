-- begin --
INSERT INTO idempotent_requests (tenant_id, idempotency_key, operation, content_hash)
VALUES (%(tenant)s, %(key)s, %(operation)s, %(content)s)
ON CONFLICT DO NOTHING;

-- finish --
UPDATE idempotent_requests SET status = %(status)s, answer = %(answer)s
WHERE tenant_id = %(tenant)s AND idempotency_key = %(key)s;

-- answered --
SELECT operation, content_hash, status, answer FROM idempotent_requests
WHERE tenant_id = %(tenant)s AND idempotency_key = %(key)s;
