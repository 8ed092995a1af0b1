-- tenants_of_number --
-- A number that serves every tenant is answered for all of them: the person sees one number. `sends`: the tenant sends
-- from it; one with numbers of its own sends from them alone.
SELECT t.tenant_id,
       coalesce(n.tenant_id = t.tenant_id
                OR (n.tenant_id = '*'
                    AND NOT EXISTS (SELECT FROM sender_numbers AS o WHERE o.tenant_id = t.tenant_id)), false) AS sends
FROM tenants AS t
LEFT JOIN sender_numbers AS n ON provider_name(n.provider) = provider_name(%s) AND n.number_id = %s
WHERE (n.tenant_id IS NULL AND NOT %s) OR n.tenant_id IN ('*', t.tenant_id)
ORDER BY t.tenant_id;

-- words_of_tenants --
SELECT DISTINCT phrase, consent FROM consent_words WHERE tenant_id = ANY (%s);

-- recipient_of_message --
SELECT d.tenant_id, d.contact_id
FROM (SELECT %s::text AS provider, %s::text AS message_id, %s::text AS of_number) AS told
JOIN deliveries AS d ON d.provider_message_id = told.message_id
WHERE (
    SELECT true
    FROM delivery_attempts AS a
    WHERE a.delivery_id = d.delivery_id
      AND provider_name(a.provider) = provider_name(told.provider)
      AND told.of_number IN ('', a.number_id)
      AND (a.provider_message_id = d.provider_message_id
           OR (a.provider_message_id IS NULL AND a.attempt_id = d.attempt_id))
    LIMIT 1
);

-- emails_of_contacts --
SELECT c.tenant_id, c.email
FROM unnest(%(tenants)s::text[], %(contacts)s::text[]) AS g (tenant_id, contact_id)
JOIN contacts AS c USING (tenant_id, contact_id)
WHERE c.email IS NOT NULL;

-- insert_event --
INSERT INTO inbound_events (event_id, provider, number_id, kind, consent, at, reply_to, text, reason, resolved)
VALUES (%(event_id)s, %(provider)s, %(number_id)s, %(kind)s, %(consent)s, to_timestamp(%(at_ms)s / 1000.0),
        %(reply_to)s, %(text)s, %(reason)s, %(resolved)s)
ON CONFLICT DO NOTHING;

-- insert_people --
INSERT INTO inbound_people (tenant_id, person, event_id)
SELECT p.tenant_id, p.person, %(event_id)s
FROM unnest(%(tenants)s::text[], %(people)s::text[]) AS p (tenant_id, person)
ON CONFLICT DO NOTHING;

-- decide --
-- The latest decision counts; of two of one moment the opt-out. For every contact id of the person, in key order.
INSERT INTO suppressions (tenant_id, contact_id, reason, decided_at, lifted, created_at)
SELECT DISTINCT ON (g.tenant_id, p.contact_id)
    g.tenant_id, p.contact_id, g.reason, to_timestamp(g.at_ms / 1000.0), g.lifted, clock_timestamp()
FROM unnest(%(tenants)s::text[], %(contacts)s::text[], %(reasons)s::text[], %(at_ms)s::bigint[], %(lifted)s::boolean[])
    AS g (tenant_id, contact_id, reason, at_ms, lifted)
CROSS JOIN LATERAL same_person(g.tenant_id, g.contact_id) AS p (contact_id)
ORDER BY g.tenant_id, p.contact_id, g.at_ms DESC, g.lifted
ON CONFLICT (tenant_id, contact_id) DO UPDATE
SET reason = excluded.reason, decided_at = excluded.decided_at, lifted = excluded.lifted,
    created_at = CASE WHEN suppressions.lifted THEN clock_timestamp() ELSE suppressions.created_at END
WHERE (suppressions.decided_at, NOT suppressions.lifted) < (excluded.decided_at, NOT excluded.lifted);

-- resolvable_events --
-- Of those with an id that led to nobody, the ones of which an alias is known by now.
SELECT e.event_id::text, e.consent, (extract(epoch FROM e.at) * 1000)::bigint AS at_ms, e.reason,
       i.tenant_id, a.contact_id
FROM inbound_people AS i
JOIN contact_aliases AS a ON a.tenant_id = i.tenant_id AND a.alias = i.person
JOIN inbound_events AS e ON e.event_id = i.event_id
WHERE i.tenant_id = ANY (%(tenants)s) AND i.person = ANY (%(people)s) AND NOT e.resolved
LIMIT %(limit)s;

-- unresolved_events --
SELECT received_at, event_id::text
FROM inbound_events
WHERE NOT resolved AND (received_at, event_id) > (%(at)s, %(id)s::uuid)
ORDER BY received_at, event_id
LIMIT %(limit)s;

-- resolvable_of_events --
-- By an alias, or by itself where it is a contact or others lead to it; without what is in force already.
SELECT e.event_id::text, e.consent, (extract(epoch FROM e.at) * 1000)::bigint AS at_ms, e.reason,
       i.tenant_id, coalesce(a.contact_id, i.person) AS contact_id
FROM inbound_events AS e
JOIN inbound_people AS i ON i.event_id = e.event_id
LEFT JOIN contact_aliases AS a ON a.tenant_id = i.tenant_id AND a.alias = i.person
WHERE e.event_id = ANY (%(event_ids)s::uuid[]) AND NOT e.resolved
  AND (a.contact_id IS NOT NULL
       OR ((EXISTS (SELECT FROM contacts AS c WHERE c.tenant_id = i.tenant_id AND c.contact_id = i.person)
            OR EXISTS (SELECT FROM contact_aliases AS o WHERE o.tenant_id = i.tenant_id AND o.contact_id = i.person))
           AND NOT EXISTS (SELECT FROM suppressions AS s
                           WHERE s.tenant_id = i.tenant_id AND s.contact_id = i.person AND s.decided_at >= e.at)));

-- place_people --
INSERT INTO inbound_people (tenant_id, person, event_id)
SELECT g.tenant_id, g.contact_id, g.event_id
FROM unnest(%(event_ids)s::uuid[], %(tenants)s::text[], %(contacts)s::text[]) AS g (event_id, tenant_id, contact_id)
ORDER BY g.event_id, g.tenant_id, g.contact_id
ON CONFLICT DO NOTHING;

-- forget_ids --
-- The ids of a tenant that has the contact by now: of one event all of them are one person's.
DELETE FROM inbound_people AS i
USING (
    SELECT g.event_id, g.tenant_id, array_agg(g.contact_id) AS contacts
    FROM unnest(%(event_ids)s::uuid[], %(tenants)s::text[], %(contacts)s::text[])
        AS g (event_id, tenant_id, contact_id)
    GROUP BY g.event_id, g.tenant_id
) AS placed
WHERE i.event_id = placed.event_id AND i.tenant_id = placed.tenant_id AND i.person <> ALL (placed.contacts);

-- resolve_events --
-- Those of which no tenant's id leads to nobody any more.
UPDATE inbound_events AS e SET resolved = true
WHERE e.event_id = ANY (%(event_ids)s::uuid[]) AND NOT e.resolved
  AND NOT EXISTS (
      SELECT
      FROM inbound_people AS i
      WHERE i.event_id = e.event_id
        AND NOT EXISTS (SELECT FROM contacts AS c WHERE c.tenant_id = i.tenant_id AND c.contact_id = i.person)
        AND NOT EXISTS (SELECT FROM contact_aliases AS o WHERE o.tenant_id = i.tenant_id AND o.contact_id = i.person)
  );

-- count_unresolved --
SELECT coalesce(consent, '') AS consent, count(*) AS events
FROM (SELECT consent FROM inbound_events WHERE NOT resolved LIMIT %(most)s) AS unresolved
GROUP BY consent;

-- list_events --
-- Newest first. The text is not among the columns: it is personal.
SELECT e.event_id::text, e.provider, e.number_id, e.kind, e.consent, e.at, e.resolved, e.reason
FROM inbound_events AS e
WHERE (%(consent)s::text IS NULL OR e.consent = %(consent)s)
  AND (NOT %(unresolved)s OR NOT e.resolved)
ORDER BY e.received_at DESC
LIMIT %(limit)s;

-- delete_old --
-- What somebody unknown decided stays longer: it is to be in force as soon as it is known whose it is.
DELETE FROM inbound_events
WHERE event_id IN (
    SELECT event_id FROM inbound_events
    -- The first bound is of no row, so that the index on the time serves it.
    WHERE received_at < now() - make_interval(days => least(%(days)s, %(unresolved_days)s))
      AND received_at < now() - make_interval(days => CASE WHEN NOT resolved AND consent IN ('stop', 'resume')
                                                          THEN %(unresolved_days)s ELSE %(days)s END)
    ORDER BY received_at
    LIMIT %(limit)s
);

-- erase_texts --
-- Of those that stay longer.
UPDATE inbound_events SET text = NULL
WHERE text IS NOT NULL AND received_at < now() - make_interval(days => %(days)s);

-- window_until --
-- Twenty-four hours after the person last wrote to the number, under whichever id; choices are no messages.
SELECT max(e.at) + interval '24 hours' AS until
FROM same_person(%(tenant)s, %(contact)s) AS p (contact_id)
JOIN inbound_people AS i ON i.tenant_id = %(tenant)s AND i.person = p.contact_id
JOIN inbound_events AS e ON e.event_id = i.event_id
WHERE e.number_id = %(number)s
  AND e.kind NOT IN ('preference', 'system', 'user_changed_number', 'user_changed_user_id', 'customer_identity_changed');
