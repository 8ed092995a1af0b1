-- resolve --
-- An alias leads to its contact, a contact that nobody has united leads to itself.
SELECT w.tenant_id, w.person, coalesce(a.contact_id, c.contact_id) AS contact_id
FROM unnest(%(tenants)s::text[], %(people)s::text[]) AS w (tenant_id, person)
LEFT JOIN contact_aliases AS a ON a.tenant_id = w.tenant_id AND a.alias = w.person
LEFT JOIN contacts AS c ON c.tenant_id = w.tenant_id AND c.contact_id = w.person
WHERE a.contact_id IS NOT NULL OR c.contact_id IS NOT NULL;

-- learn_alone --
-- One process at a time: two that unite overlapping contacts at once would leave an alias of an alias.
SELECT pg_advisory_xact_lock(hashtext('quizstream contact aliases'));

-- redirect --
UPDATE contact_aliases SET contact_id = %(contact)s
WHERE tenant_id = %(tenant)s AND contact_id = ANY (%(others)s);

-- learn --
INSERT INTO contact_aliases (tenant_id, alias, contact_id, is_contact, source)
SELECT %(tenant)s, l.alias, %(contact)s, l.is_contact, %(source)s
FROM unnest(%(aliases)s::text[], %(are_contacts)s::boolean[]) AS l (alias, is_contact)
WHERE l.alias <> %(contact)s
ON CONFLICT (tenant_id, alias) DO UPDATE SET contact_id = excluded.contact_id
WHERE contact_aliases.contact_id <> excluded.contact_id;

-- contacts_of_messages --
-- By the attempt that we gave the provider, else by the message id that the provider gave us.
SELECT told.ordinal, d.tenant_id, d.contact_id
FROM unnest(%(providers)s::text[], %(of_numbers)s::text[], %(message_ids)s::text[], %(attempt_ids)s::uuid[])
    WITH ORDINALITY AS told (provider, of_number, message_id, attempt_id, ordinal)
CROSS JOIN LATERAL (
    SELECT d.tenant_id, d.contact_id
    FROM delivery_attempts AS a
    JOIN deliveries AS d ON d.delivery_id = a.delivery_id
    WHERE a.attempt_id = told.attempt_id AND provider_name(a.provider) = provider_name(told.provider)
      AND told.of_number IN ('', a.number_id)
    UNION
    SELECT d.tenant_id, d.contact_id
    FROM deliveries AS d
    WHERE d.provider_message_id = told.message_id
      AND (
          SELECT true  -- not EXISTS: as a join it reads all attempts for each message
          FROM delivery_attempts AS a
          WHERE a.delivery_id = d.delivery_id
            AND provider_name(a.provider) = provider_name(told.provider)
            AND told.of_number IN ('', a.number_id)
            AND (a.provider_message_id = d.provider_message_id
                 OR (a.provider_message_id IS NULL AND a.attempt_id = d.attempt_id))
          LIMIT 1
      )
    OFFSET 0
) AS d;
