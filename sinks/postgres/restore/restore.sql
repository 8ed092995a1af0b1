-- read_positions --
SELECT partition, next_offset FROM outbox_positions WHERE topic = %s;

-- set_position --
INSERT INTO outbox_positions (topic, partition, next_offset) VALUES (%s, %s, %s)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset;

-- move_position --
-- Only from where it is: a gap is another writer, whose events must be read before they are passed.
UPDATE outbox_positions SET next_offset = %s WHERE topic = %s AND partition = %s AND next_offset = %s;

-- sink_positions --
SELECT partition, next_offset FROM sink_offsets WHERE sink = %s AND topic = %s;

-- renew_permit --
INSERT INTO sending_permit (granted_until, incarnation)
VALUES (clock_timestamp() + make_interval(secs => %s), ledger_incarnation())
ON CONFLICT (only_row) DO UPDATE
SET granted_until = excluded.granted_until, incarnation = excluded.incarnation;

-- withdraw_permit --
-- With a row, though nothing was ever granted: from here on somebody looks after this database.
INSERT INTO sending_permit (granted_until, incarnation) VALUES ('-infinity', '')
ON CONFLICT (only_row) DO UPDATE SET granted_until = '-infinity';

-- shut_out_marks --
-- Waits for the marks under way, and holds off new ones, until this transaction ends.
LOCK TABLE sending_stops IN EXCLUSIVE MODE;

-- begin_recovery --
INSERT INTO sending_stops (scope, reason) VALUES ('recovery', %s) ON CONFLICT DO NOTHING;

-- is_recovering --
SELECT EXISTS (SELECT FROM sending_stops WHERE scope = 'recovery');

-- set_target --
INSERT INTO recovery_targets (sink, topic, partition, next_offset) VALUES (%s, %s, %s, %s)
ON CONFLICT (sink, topic, partition) DO UPDATE
SET next_offset = greatest(recovery_targets.next_offset, excluded.next_offset);

-- targets_left --
SELECT count(*)
FROM recovery_targets AS t
LEFT JOIN sink_offsets AS s USING (sink, topic, partition)
WHERE coalesce(s.next_offset, 0) < t.next_offset;

-- known_sequences --
SELECT d.delivery_id::text, d.sequence
FROM unnest(%s::uuid[]) AS e (delivery_id)
JOIN deliveries AS d USING (delivery_id);

-- keep_delivery --
INSERT INTO recovered_deliveries (
    delivery_id, tenant_id, campaign_id, contact_id, sequence, state, reason, provider_message_id,
    attempts, attempt_id, number_id
)
VALUES (%s::uuid, %s, %s, %s, %s, %s, %s, %s, %s, %s::uuid, %s)
ON CONFLICT (delivery_id) DO UPDATE
SET sequence = excluded.sequence, state = excluded.state, reason = excluded.reason,
    provider_message_id = CASE
        WHEN excluded.attempt_id <> recovered_deliveries.attempt_id THEN excluded.provider_message_id  -- a new call
        ELSE coalesce(excluded.provider_message_id, recovered_deliveries.provider_message_id) END,
    attempts = excluded.attempts, attempt_id = coalesce(excluded.attempt_id, recovered_deliveries.attempt_id),
    number_id = coalesce(excluded.number_id, recovered_deliveries.number_id)
WHERE recovered_deliveries.sequence < excluded.sequence;

-- keep_attempt --
INSERT INTO recovered_attempts (attempt_id, delivery_id, number_id, attempt, called_at)
VALUES (%s::uuid, %s::uuid, %s, %s, to_timestamp(%s / 1000.0))
ON CONFLICT DO NOTHING;

-- keep_taken_back --
-- The call may be in the copy of the tables, as accepted.
INSERT INTO recovered_attempts (attempt_id, delivery_id, number_id, attempt, called_at, taken_back_message_id)
VALUES (%s::uuid, %s::uuid, %s, %s, to_timestamp(%s / 1000.0), %s)
ON CONFLICT (attempt_id) DO UPDATE SET taken_back_message_id = excluded.taken_back_message_id;

-- restore_attempts --
-- Of those in the copy, only that a status took one back since is new.
INSERT INTO delivery_attempts (
    attempt_id, delivery_id, number_id, attempt, called_at, finished_at, outcome, detail, provider_message_id, provider
)
SELECT a.attempt_id, a.delivery_id, a.number_id, a.attempt, a.called_at, clock_timestamp(),
       CASE WHEN d.attempt_id = a.attempt_id AND d.state IN ('sent', 'delivered', 'read') THEN 'sent'
            WHEN a.taken_back_message_id IS NOT NULL THEN 'taken_back'
            WHEN d.attempt_id IS DISTINCT FROM a.attempt_id THEN 'rejected'
            WHEN d.state = 'waiting' AND d.provider_message_id IS NOT NULL THEN 'taken_back'
            WHEN d.state IN ('waiting', 'failed', 'dead', 'suppressed') THEN 'rejected'
            ELSE 'ambiguous' END,
       'known from delivery events',
       coalesce(a.taken_back_message_id, CASE WHEN d.attempt_id = a.attempt_id THEN d.provider_message_id END), n.provider
FROM recovered_attempts AS a
LEFT JOIN recovered_deliveries AS d USING (delivery_id)
LEFT JOIN sender_numbers AS n ON n.number_id = a.number_id
ON CONFLICT (attempt_id) DO UPDATE
SET outcome = excluded.outcome, detail = excluded.detail, provider_message_id = excluded.provider_message_id
WHERE excluded.outcome = 'taken_back';

-- restore_deliveries --
-- Leased or calling when it was last heard of: it may have been called since, and nobody can know. What a replayed
-- webhook has proven in the meantime stands: a status never goes backwards. Its sequence moves on all the same, past
-- those that were published before the loss. (The condition is written twice: it must see the locked row.)
UPDATE deliveries AS d
SET state = CASE WHEN d.state = 'read' OR d.state = 'delivered' AND r.state <> 'read'
                   OR d.state = 'sent' AND r.state NOT IN ('delivered', 'read', 'failed') THEN d.state
                 WHEN r.unsure THEN 'ambiguous' ELSE r.state END,
    reason = CASE WHEN d.state = 'read' OR d.state = 'delivered' AND r.state <> 'read'
                    OR d.state = 'sent' AND r.state NOT IN ('delivered', 'read', 'failed') THEN d.reason
                  WHEN r.unsure THEN %(unsure)s ELSE r.reason END,
    sequence = r.sequence + 1,
    route = NULL,  -- of the copy; those that wait are routed again
    attempts = r.attempts,
    attempt_id = coalesce(r.attempt_id, d.attempt_id),
    number_id = coalesce(r.number_id, d.number_id),
    -- Of an earlier call only where it is the proof.
    provider_message_id = CASE
        WHEN r.attempt_id <> d.attempt_id AND d.state NOT IN ('sent', 'delivered', 'read') THEN r.provider_message_id
        ELSE coalesce(r.provider_message_id, d.provider_message_id) END,
    lease_token = NULL,
    leased_until = NULL,
    updated_at = clock_timestamp()
FROM (SELECT *, state IN ('leased', 'calling', 'ambiguous') AS unsure FROM recovered_deliveries) AS r
WHERE d.delivery_id = r.delivery_id
  AND d.sequence < r.sequence
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- doubt_leases --
-- Of the copy itself: leased or calling when it was made, and no newer event says how that ended.
UPDATE deliveries AS d
SET state = 'ambiguous', reason = %(unsure)s, sequence = d.sequence + 1, lease_token = NULL, leased_until = NULL,
    updated_at = clock_timestamp()
WHERE d.state IN ('leased', 'calling')
RETURNING d.campaign_month, d.campaign_id, d.contact_id, d.delivery_id::text, d.tenant_id, d.completion_id::text,
          d.sequence, d.state, (extract(epoch FROM d.updated_at) * 1000)::bigint AS at_ms, d.reason,
          d.provider_message_id, d.attempts, d.attempt_id::text, d.number_id;

-- restore_suppressions --
-- Who was not written to because of another delivery has not opted out. An opt-in of the copy may be older than the
-- opt-out, whose time no event tells: the opt-out counts.
INSERT INTO suppressions (tenant_id, contact_id, reason)
SELECT DISTINCT ON (tenant_id, contact_id) tenant_id, contact_id, reason
FROM recovered_deliveries
WHERE state = 'suppressed' AND reason <> %(other_delivery)s
ORDER BY tenant_id, contact_id, sequence DESC
ON CONFLICT (tenant_id, contact_id) DO UPDATE
SET lifted = false, reason = excluded.reason, decided_at = excluded.decided_at, created_at = excluded.created_at
WHERE suppressions.lifted;

-- forget_placed --
DELETE FROM recovered_deliveries AS r USING deliveries AS d WHERE d.delivery_id = r.delivery_id;

-- forget_attempts --
DELETE FROM recovered_attempts;

-- count_unplaced --
SELECT count(*) AS unplaced FROM recovered_deliveries;

-- forget_targets --
DELETE FROM recovery_targets;

-- end_recovery --
DELETE FROM sending_stops WHERE scope = 'recovery';

-- save_tenant --
INSERT INTO tenants (tenant_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING;

-- save_campaign --
INSERT INTO campaigns (campaign_id, tenant_id, month, created_at)
VALUES (%s, %s, DATE '1970-01-01' + %s::integer, to_timestamp(%s / 1000.0))
ON CONFLICT DO NOTHING;

-- save_version --
INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)
VALUES (%s, %s, %s::jsonb, to_timestamp(%s / 1000.0))
ON CONFLICT DO NOTHING;

-- settle_cancellation --
-- As its newest version says; a cancellation is never taken back by a version that is not active.
UPDATE campaigns SET cancelled_at = coalesce(cancelled_at, to_timestamp(%(at)s / 1000.0))
WHERE campaign_id = %(campaign)s
  AND (SELECT max(version) FROM campaign_versions WHERE campaign_id = %(campaign)s) = %(version)s;

-- save_quiz --
INSERT INTO quizzes (quiz_id, tenant_id, version, title, questions, open, created_at, former_questions)
VALUES (%s, %s, %s, %s, %s::jsonb, %s, to_timestamp(%s / 1000.0), %s::jsonb)
ON CONFLICT (quiz_id) DO UPDATE
SET version = excluded.version, title = excluded.title, questions = excluded.questions, open = excluded.open,
    former_questions = excluded.former_questions
WHERE quizzes.version < excluded.version;

-- save_limits --
INSERT INTO tenants (tenant_id, name, version, limits) VALUES (%s, %s, %s, %s::jsonb)
ON CONFLICT (tenant_id) DO UPDATE SET version = excluded.version, limits = excluded.limits
WHERE tenants.version < excluded.version;

-- save_token --
INSERT INTO tokens (token_hash, tenant_id, kind, version, revoked_at, role, scopes, expires_at, key_id)
VALUES (%s, %s, %s, %s, CASE WHEN %s THEN clock_timestamp() END, %s, %s, to_timestamp(%s / 1000.0), %s)
ON CONFLICT (token_hash) DO UPDATE
SET tenant_id = excluded.tenant_id, kind = excluded.kind, version = excluded.version,
    revoked_at = excluded.revoked_at, role = excluded.role, scopes = excluded.scopes,
    expires_at = excluded.expires_at, key_id = excluded.key_id
WHERE tokens.version < excluded.version;

-- save_webhook_key --
INSERT INTO webhook_keys (number_id, provider, version, key_hash, former_hash, former_until)
VALUES (%s, %s, %s, %s, %s, to_timestamp(%s::bigint / 1000.0))
ON CONFLICT (number_id) DO UPDATE
SET provider = excluded.provider, version = excluded.version, key_hash = excluded.key_hash,
    former_hash = excluded.former_hash, former_until = excluded.former_until
WHERE webhook_keys.version < excluded.version;
