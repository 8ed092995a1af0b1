-- save_tenant --
INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)
ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name WHERE tenants.name <> excluded.name;

-- tenant_exists --
SELECT 1 FROM tenants WHERE tenant_id = %s;

-- begin_quiz --
-- Makes the row that is locked next: two savers of one new quiz then come one after the other. Version 0 is never
-- seen outside of the transaction.
INSERT INTO quizzes (quiz_id, tenant_id, version, title, questions, created_at)
VALUES (%s, %s, 0, '', '[]', to_timestamp(%s / 1000.0))
ON CONFLICT DO NOTHING;

-- lock_quiz --
SELECT tenant_id, version, title, questions, open, (extract(epoch FROM created_at) * 1000)::bigint
FROM quizzes WHERE quiz_id = %s FOR UPDATE;

-- get_quiz --
SELECT tenant_id, version, title, questions, open, (extract(epoch FROM created_at) * 1000)::bigint
FROM quizzes WHERE quiz_id = %s;

-- update_quiz --
UPDATE quizzes SET version = %s, title = %s, questions = %s::jsonb, open = %s WHERE quiz_id = %s;

-- begin_campaign --
INSERT INTO campaigns (campaign_id, tenant_id, month, created_at)
VALUES (%s, %s, DATE '1970-01-01' + %s::integer, to_timestamp(%s / 1000.0))
ON CONFLICT DO NOTHING;

-- lock_campaign --
SELECT tenant_id, month - DATE '1970-01-01', cancelled_at IS NOT NULL
FROM campaigns WHERE campaign_id = %s FOR UPDATE;

-- newest_version --
SELECT definition FROM campaign_versions WHERE campaign_id = %s ORDER BY version DESC LIMIT 1;

-- insert_version --
INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)
VALUES (%s, %s, %s::jsonb, to_timestamp(%s / 1000.0));

-- mark_cancelled --
UPDATE campaigns SET cancelled_at = to_timestamp(%s / 1000.0) WHERE campaign_id = %s;

-- begin_token --
INSERT INTO tokens (token_hash, tenant_id, kind, version) VALUES (%s, %s, %s, 0)
ON CONFLICT DO NOTHING;

-- lock_token --
SELECT tenant_id, kind, version, revoked_at IS NOT NULL FROM tokens WHERE token_hash = %s FOR UPDATE;

-- update_token --
UPDATE tokens
SET tenant_id = %s, kind = %s, version = %s,
    revoked_at = CASE WHEN %s THEN coalesce(revoked_at, clock_timestamp()) END
WHERE token_hash = %s;

-- save_number --
-- What its sender keeps here (lease, state) is not the operator's to change by saving.
INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential, messages_per_s, messages_per_minute)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (number_id) DO UPDATE
SET tenant_id = excluded.tenant_id, provider = excluded.provider, base_url = excluded.base_url,
    credential = excluded.credential, messages_per_s = excluded.messages_per_s,
    messages_per_minute = excluded.messages_per_minute
WHERE (sender_numbers.tenant_id, sender_numbers.provider, sender_numbers.base_url,
       sender_numbers.credential, sender_numbers.messages_per_s, sender_numbers.messages_per_minute)
    IS DISTINCT FROM
      (excluded.tenant_id, excluded.provider, excluded.base_url, excluded.credential, excluded.messages_per_s,
       excluded.messages_per_minute);

-- suppress --
INSERT INTO suppressions (tenant_id, contact_id, reason) VALUES (%s, %s, %s)
ON CONFLICT DO NOTHING;
