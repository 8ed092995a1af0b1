-- insert_notice --
INSERT INTO provider_notices (notice_id, provider, kind, event, account_id, number_id, phone, template, language, detail,
                              effect, at)
VALUES (%(notice_id)s, %(provider)s, %(kind)s, %(event)s, %(account_id)s, %(number_id)s, %(phone)s, %(template)s,
        %(language)s, %(detail)s, %(effect)s, to_timestamp(%(at_ms)s / 1000.0))
ON CONFLICT DO NOTHING;

-- set_outcome --
UPDATE provider_notices SET outcome = %(outcome)s WHERE notice_id = %(notice_id)s;

-- newer_notices --
-- Notices come in any order: a newer one of the same account and template that ends the hold or the stop counts.
SELECT count(*) AS newer
FROM provider_notices
WHERE provider = %(provider)s AND kind = %(kind)s AND account_id = %(account_id)s AND template = %(template)s
  AND language = %(language)s AND effect IN ('allow', 'session_open') AND at > to_timestamp(%(at_ms)s / 1000.0);

-- unresolved_notices --
SELECT notice_id::text, provider, kind, event, account_id, number_id, phone, template, language, detail, effect,
       (extract(epoch FROM at) * 1000)::bigint AS at_ms
FROM provider_notices
WHERE outcome = 'unresolved' AND account_id = ANY (%(accounts)s)
ORDER BY at
LIMIT %(limit)s;

-- numbers_of_notice --
-- By the phone only where the number is not known to be of another account: that one's tenants have no part in it.
-- `named`: the notice has the number's phone.
SELECT n.number_id, coalesce(%(phone)s <> '' AND %(phone)s IN (n.display_phone, n.number_id), false) AS named
FROM sender_numbers AS n
WHERE provider_name(n.provider) = provider_name(%(provider)s)
  AND ((%(account_id)s <> '' AND n.account_id = %(account_id)s)
       OR (%(phone)s <> '' AND %(phone)s IN (n.display_phone, n.number_id)
           AND (%(account_id)s = '' OR n.account_id IS NULL))
       -- A session is its own account, also before its first webhook has taught that.
       OR (%(number_id)s <> '' AND %(number_id)s = %(account_id)s AND n.number_id = %(number_id)s))
ORDER BY n.number_id;

-- numbers_not_released --
-- Those that no operator has released since the time of the notice.
SELECT number_id FROM unnest(%(numbers)s::text[]) AS n (number_id)
WHERE NOT is_released_since('number:' || number_id, to_timestamp(%(at_ms)s / 1000.0))
ORDER BY number_id;

-- hold_numbers --
WITH locked AS (
    SELECT n.number_id FROM sender_numbers AS n
    WHERE n.number_id = ANY (%(numbers)s) AND (n.state = 'active' OR n.session_lost_at IS NOT NULL)
    ORDER BY n.number_id
    FOR UPDATE OF n
)
UPDATE sender_numbers AS n SET state = %(state)s, reason = %(reason)s, session_lost_at = NULL
FROM locked AS l
WHERE n.number_id = l.number_id;

-- pause_sessions --
-- Until the session is there again, after the latest loss.
UPDATE sender_numbers AS n
SET state = 'paused', reason = %(reason)s, session_lost_at = to_timestamp(%(at_ms)s / 1000.0)
WHERE n.number_id = ANY (%(numbers)s)
  AND (n.state = 'active' OR (n.state = 'paused' AND n.session_lost_at < to_timestamp(%(at_ms)s / 1000.0)));

-- lock_numbers --
-- Before `resume_sessions`, in a statement of its own and whatever their state: a sender that pauses one now is waited
-- for, and the next one reads this notice.
SELECT number_id FROM sender_numbers WHERE number_id = ANY (%(numbers)s) ORDER BY number_id FOR NO KEY UPDATE;

-- resume_sessions --
-- Only numbers that are paused because their session was lost before.
UPDATE sender_numbers AS n
SET state = 'active', reason = '', session_lost_at = NULL
WHERE n.number_id = ANY (%(numbers)s) AND n.state = 'paused'
  AND n.session_lost_at <= to_timestamp(%(at_ms)s / 1000.0);

-- count_held_numbers --
SELECT provider, CASE WHEN session_lost_at IS NOT NULL THEN 'session_lost' ELSE state END AS state, count(*) AS numbers
FROM sender_numbers
WHERE state <> 'active'
GROUP BY 1, 2;

-- stop_campaigns_of_template --
-- Of the tenants that send from these numbers; of a shared one, those without a number of their own.
INSERT INTO sending_stops (scope, reason)
SELECT 'campaign:' || c.campaign_id, %(reason)s::text
FROM campaigns AS c
CROSS JOIN LATERAL (
    SELECT v.definition -> 'message' ->> 'template' AS template, v.definition -> 'message' ->> 'language' AS language
    FROM campaign_versions AS v
    WHERE v.campaign_id = c.campaign_id
    ORDER BY v.version DESC
    LIMIT 1
) AS message
WHERE c.cancelled_at IS NULL
  AND NOT is_released_since('campaign:' || c.campaign_id, to_timestamp(%(at_ms)s / 1000.0))
  AND message.template = %(template)s
  AND (%(language)s = '' OR message.language IS NULL OR replace(message.language, '-', '_') = %(language)s)
  AND EXISTS (
      SELECT
      FROM sender_numbers AS n
      WHERE n.number_id = ANY (%(numbers)s)
        AND (n.tenant_id = c.tenant_id
             OR (n.tenant_id = '*'
                 AND NOT EXISTS (SELECT FROM sender_numbers AS o WHERE o.tenant_id = c.tenant_id)))
  )
ON CONFLICT DO NOTHING;

-- set_limits --
-- A notice without a limit of people leaves that as it is; one with it counts though a newer one without it came before.
UPDATE sender_numbers AS n
SET provider_limit = CASE WHEN c.newest THEN %(limit)s ELSE n.provider_limit END,
    provider_limit_at = CASE WHEN c.newest THEN c.at ELSE n.provider_limit_at END,
    people_max = CASE WHEN c.newest_people THEN %(people_max)s ELSE n.people_max END,
    people_max_at = CASE WHEN c.newest_people THEN c.at ELSE n.people_max_at END
FROM (
    SELECT o.number_id, g.at, coalesce(o.provider_limit_at < g.at, true) AS newest,
           %(states_people)s AND coalesce(o.people_max_at < g.at, true) AS newest_people
    FROM sender_numbers AS o
    CROSS JOIN (SELECT to_timestamp(%(at_ms)s / 1000.0) AS at) AS g
    WHERE o.number_id = ANY (%(numbers)s)
    ORDER BY o.number_id
    FOR UPDATE OF o
) AS c
WHERE n.number_id = c.number_id AND (c.newest OR c.newest_people);

-- learn_accounts --
WITH told AS (
    SELECT *
    FROM unnest(%(providers)s::text[], %(accounts)s::text[], %(numbers)s::text[], %(phones)s::text[])
        AS t (provider, account_id, number_id, phone)
), locked AS (
    SELECT n.number_id, t.account_id, coalesce(nullif(t.phone, ''), n.display_phone) AS phone
    FROM told AS t
    JOIN sender_numbers AS n ON n.number_id = t.number_id AND provider_name(n.provider) = provider_name(t.provider)
    WHERE (n.account_id, n.display_phone)
        IS DISTINCT FROM (t.account_id, coalesce(nullif(t.phone, ''), n.display_phone))
    ORDER BY n.number_id
    FOR UPDATE OF n
)
UPDATE sender_numbers AS n
SET account_id = l.account_id, display_phone = l.phone
FROM locked AS l
WHERE n.number_id = l.number_id
RETURNING n.account_id;

-- list_notices --
-- Newest first.
SELECT received_at, at, provider, kind, event, account_id, number_id, phone, template, language, detail, outcome
FROM provider_notices
WHERE (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
ORDER BY received_at DESC
LIMIT %(limit)s;

-- count_unresolved_notices --
SELECT count(*) AS notices FROM provider_notices WHERE outcome = 'unresolved';

-- delete_old_notices --
DELETE FROM provider_notices
WHERE notice_id IN (
    SELECT notice_id FROM provider_notices
    WHERE received_at < now() - make_interval(days => %(days)s)
    ORDER BY received_at
    LIMIT %(limit)s
);
