-- save_tenant --
-- Without a language a new tenant gets the default, and another one keeps its own.
INSERT INTO tenants (tenant_id, name, language)
VALUES (%(tenant)s, %(name)s, coalesce(%(language)s, 'pt-BR'))
ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, language = coalesce(%(language)s, tenants.language)
WHERE (tenants.name, tenants.language) <> (excluded.name, coalesce(%(language)s, tenants.language));

-- lock_tenant --
SELECT version, limits FROM tenants WHERE tenant_id = %s FOR UPDATE;

-- update_limits --
UPDATE tenants SET version = %(version)s, limits = %(limits)s::jsonb WHERE tenant_id = %(tenant)s;

-- get_limits --
SELECT limits FROM tenants WHERE tenant_id = %s;

-- tenant_exists --
SELECT 1 FROM tenants WHERE tenant_id = %s;

-- begin_quiz --
-- Makes the row that is locked next: two savers of one new quiz then come one after the other. Version 0 is never
-- seen outside of the transaction.
INSERT INTO quizzes (quiz_id, tenant_id, version, title, questions, created_at)
VALUES (%s, %s, 0, '', '[]', to_timestamp(%s / 1000.0))
ON CONFLICT DO NOTHING;

-- lock_quiz --
SELECT tenant_id, version, title, questions, open, (extract(epoch FROM created_at) * 1000)::bigint, former_questions,
       page
FROM quizzes WHERE quiz_id = %s FOR UPDATE;

-- share_quiz --
-- A campaign that is being saved keeps its quizzes as they are: saving a quiz locks its row, and reads the campaigns
-- after that.
SELECT tenant_id, version, title, questions, open, (extract(epoch FROM created_at) * 1000)::bigint, former_questions
FROM quizzes WHERE quiz_id = %s FOR SHARE;

-- get_quiz --
SELECT tenant_id, version, title, questions, open, (extract(epoch FROM created_at) * 1000)::bigint, former_questions
FROM quizzes WHERE quiz_id = %s;

-- get_page --
SELECT page FROM quizzes WHERE quiz_id = %s;

-- update_quiz --
UPDATE quizzes
SET version = %(version)s, title = %(title)s, questions = %(questions)s::jsonb, open = %(open)s,
    former_questions = %(former_questions)s::jsonb, page = %(page)s::jsonb
WHERE quiz_id = %(quiz)s;

-- running_campaigns --
-- The newest version of each campaign of the quiz that can still match.
SELECT newest.definition
FROM campaigns
CROSS JOIN LATERAL (
    SELECT definition FROM campaign_versions AS of_it
    WHERE of_it.campaign_id = campaigns.campaign_id
    ORDER BY version DESC LIMIT 1
) AS newest
WHERE campaigns.tenant_id = %(tenant)s AND campaigns.cancelled_at IS NULL
  AND newest.definition -> 'quiz_ids' @> to_jsonb(%(quiz)s::text)
  AND (newest.definition ->> 'active')::boolean
  AND coalesce((newest.definition ->> 'ends_at')::bigint > %(now_ms)s, true)
ORDER BY campaigns.campaign_id;

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

-- list_tenants --
SELECT tenant_id, name, created_at, limits FROM tenants WHERE tenant_id > %(after)s ORDER BY tenant_id LIMIT %(limit)s;

-- list_quizzes --
SELECT quiz_id, tenant_id, version, title, jsonb_array_length(questions) AS questions, open, created_at
FROM quizzes
WHERE quiz_id > %(after)s AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
ORDER BY quiz_id
LIMIT %(limit)s;
