-- deliveries_of --
-- The ledger's rows of one delivery, or of everything that one completion caused.
SELECT delivery_id::text, completion_id::text, campaign_id, campaign_version, tenant_id, state, reason, due_at,
       attempts, with_fallbacks, channel, route, number_id, provider_message_id, created_at, updated_at
FROM deliveries WHERE delivery_id = %(id)s OR completion_id = %(id)s
ORDER BY created_at

-- completion_of --
SELECT completion_id::text, day::text, tenant_id, quiz_id, quiz_version, contact_id, submitted_at, accepted_at,
       archived_at, score, answers, consent_granted, consent_text
FROM completions WHERE completion_id = ANY(%(ids)s) ORDER BY archived_at

-- verdicts_of --
SELECT completion_id::text, day::text, verdict, reason, campaigns, accepted_at
FROM outcomes WHERE completion_id = ANY(%(ids)s)

-- duplicates_of --
SELECT completion_id::text, campaign_id, first_completion_id::text, accepted_at
FROM duplicates WHERE completion_id = ANY(%(ids)s)

-- attempts_of --
SELECT attempt_id::text, delivery_id::text, number_id, attempt, called_at, finished_at, outcome,
       coalesce(provider_code, code::text) AS code, action, detail, provider_message_id, provider_name(provider) AS provider,
       channel
FROM delivery_attempts WHERE delivery_id = ANY(%(ids)s) ORDER BY called_at

-- statuses_of --
SELECT provider, provider_message_id, status, at, errors, merged
FROM provider_statuses
WHERE attempt_id = ANY(%(attempts)s) OR provider_message_id = ANY(%(messages)s)
ORDER BY at

-- dead_letters_of --
SELECT dead_letter_id::text, source_topic, source_partition, source_offset, stage, reason, attempts, failed_at
FROM dead_letters WHERE completion_id = ANY(%(ids)s) ORDER BY failed_at
