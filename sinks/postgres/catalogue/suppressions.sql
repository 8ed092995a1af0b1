-- count_suppressed --
SELECT count(*) FROM suppressions WHERE tenant_id = %(tenant)s AND contact_id = ANY (%(contacts)s) AND NOT lifted;

-- suppress --
-- In the order of the key: two imports at once wait for each other instead of locking each other out.
INSERT INTO suppressions (tenant_id, contact_id, reason)
SELECT %(tenant)s, contact_id, %(reason)s
FROM (SELECT DISTINCT p.contact_id
      FROM unnest(%(contacts)s::text[]) AS g (given)
      CROSS JOIN LATERAL (SELECT g.given UNION ALL SELECT * FROM same_person(%(tenant)s, g.given)) AS p (contact_id)
      ORDER BY 1) AS given
ON CONFLICT (tenant_id, contact_id) DO UPDATE
SET decided_at = excluded.decided_at, lifted = false,
    reason = CASE WHEN suppressions.lifted THEN excluded.reason ELSE suppressions.reason END,
    created_at = CASE WHEN suppressions.lifted THEN excluded.created_at ELSE suppressions.created_at END;

-- unsuppress --
-- For every contact id of the person; the row stays, so that an opt-out of before that comes late changes nothing.
UPDATE suppressions AS s
SET lifted = true, decided_at = clock_timestamp(), reason = %(reason)s
FROM (SELECT %(contact)s UNION SELECT * FROM same_person(%(tenant)s, %(contact)s)) AS p (contact_id)
WHERE s.tenant_id = %(tenant)s AND s.contact_id = p.contact_id AND NOT s.lifted;

-- list_suppressions --
-- The phone is known where the contact has handed in a completion; a suppression may be older than its contact.
SELECT s.contact_id, p.phone, s.reason, s.created_at
FROM suppressions AS s
LEFT JOIN contacts AS p USING (tenant_id, contact_id)
WHERE s.tenant_id = %(tenant)s AND s.contact_id > %(after)s AND NOT s.lifted
ORDER BY s.contact_id
LIMIT %(limit)s;

-- some_contact --
SELECT contact_id, phone FROM contacts WHERE tenant_id = %s AND phone IS NOT NULL LIMIT 1;

-- save_word --
INSERT INTO consent_words (tenant_id, language, phrase, consent)
VALUES (%(tenant)s, %(language)s, %(phrase)s, %(consent)s)
ON CONFLICT (tenant_id, language, phrase) DO UPDATE SET consent = excluded.consent
WHERE consent_words.consent <> excluded.consent;

-- delete_word --
DELETE FROM consent_words WHERE tenant_id = %(tenant)s AND language = %(language)s AND phrase = %(phrase)s;

-- count_words --
SELECT count(*) FROM consent_words WHERE tenant_id = %(tenant)s;

-- list_words --
SELECT language, phrase, consent FROM consent_words WHERE tenant_id = %s ORDER BY language, phrase;
