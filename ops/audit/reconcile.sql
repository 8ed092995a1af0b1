-- completions --
-- Every archived completion; the same id under two days shows as two rows.
SELECT uuid_send(completion_id) FROM completions

-- outcomes --
-- Every verdict, with the campaigns that it names.
SELECT uuid_send(completion_id), verdict, campaigns FROM outcomes

-- duplicates --
-- Matches that came after the first of their campaign and contact.
SELECT uuid_send(completion_id), campaign_id FROM duplicates

-- deliveries --
-- The ledger. Where the archive no longer has the completion's day, its verdict is gone too.
SELECT uuid_send(delivery_id), uuid_send(completion_id), campaign_id, state, provider_message_id IS NOT NULL,
       completion_day >= current_date - %(archive_days)s::integer
FROM deliveries

-- deleted_ledgers --
-- Campaigns that ended long ago, whose deliveries are being deleted or are gone: their matches are not compared.
SELECT campaign_id FROM campaigns WHERE ledger_deleted_at IS NOT NULL

-- attempts --
-- Every call that was announced: its row is committed before its first byte. One that was taken back counts as sent
-- where no status says that it failed, or one says that it arrived; statuses are kept for a number of days.
SELECT uuid_send(a.attempt_id), uuid_send(a.delivery_id),
       CASE WHEN a.outcome = 'taken_back' AND a.called_at > now() - make_interval(days => %(status_days)s - 1)
                 AND NOT (SELECT coalesce(bool_or(s.status = 'failed'), false)
                                 AND NOT coalesce(bool_or(s.status IN ('delivered', 'read')), false)
                          FROM provider_statuses AS s
                          WHERE s.provider IN (provider_name(a.provider), former_provider_name(provider_name(a.provider)))
                            AND s.provider_message_id = a.provider_message_id
                            AND s.number_id IN ('', a.number_id))
            THEN 'sent' ELSE a.outcome END,
       a.number_id, a.called_at, n.base_url
FROM delivery_attempts AS a
LEFT JOIN sender_numbers AS n USING (number_id)

-- number_addresses --
-- Where each number's calls went, since when: an operator may move it from one provider to another.
SELECT subject, at, detail ->> 'base_url' FROM audit_log
WHERE action = 'number.add' AND detail ->> 'base_url' IS NOT NULL
ORDER BY audit_id

-- dead_letters --
-- Records that some stage or sink gave up.
SELECT dead_letter_id::text, source_topic, source_partition, source_offset, stage, value,
       completion_id::text, campaign_id
FROM dead_letters

-- unsettled_deliveries --
-- What the sender still has to do.
SELECT state, count(*) FROM deliveries WHERE state IN ('waiting', 'leased', 'calling') GROUP BY state

-- unpublished --
-- Events that still wait for the outbox's publisher.
SELECT count(*) FROM outbox

-- last_activation --
-- When the youngest version of any campaign comes into force.
SELECT coalesce(extract(epoch FROM max(effective_at)) * 1000, 0)::bigint FROM campaign_versions
