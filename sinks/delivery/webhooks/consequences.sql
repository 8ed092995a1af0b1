-- hold_number_reported --
-- As `hold_number` and `hold_account`, unless an operator has released the number since the time of the report.
WITH locked AS (
    SELECT n.number_id
    FROM sender_numbers AS this
    JOIN sender_numbers AS n
      ON n.number_id = this.number_id
         OR (%(whole_account)s AND n.tenant_id = this.tenant_id AND n.provider = this.provider
             AND n.base_url = this.base_url AND n.credential = this.credential)
    WHERE this.number_id = %(number_id)s AND (n.state = 'active' OR n.session_lost_at IS NOT NULL)
      AND NOT is_released_since('number:' || n.number_id, to_timestamp(%(at_ms)s / 1000.0))
    ORDER BY n.number_id
    FOR UPDATE OF n
)
UPDATE sender_numbers AS n SET state = %(state)s, reason = %(reason)s, session_lost_at = NULL
FROM locked AS l
WHERE n.number_id = l.number_id;

-- is_released --
SELECT is_released_since(%(scope)s, to_timestamp(%(at_ms)s / 1000.0)) AS released;

-- pause_number_until --
-- As `pause_numbers`, but from the time that the provider states: a report that comes late pauses nothing.
WITH locked AS (
    SELECT n.number_id
    FROM sender_numbers AS this
    JOIN sender_numbers AS n
      ON n.number_id = this.number_id
         OR (%(whole_account)s AND n.provider = this.provider AND n.base_url = this.base_url
             AND n.credential = this.credential)
    WHERE this.number_id = %(number_id)s
    ORDER BY n.number_id
    FOR UPDATE OF n
)
UPDATE sender_numbers AS n
SET paused_until = greatest(n.paused_until, to_timestamp(%(until_ms)s / 1000.0))
FROM locked AS l
WHERE n.number_id = l.number_id AND to_timestamp(%(until_ms)s / 1000.0) > clock_timestamp();

-- stop_template_of_campaign --
-- Every campaign of its tenant that has the template of its latest version; the campaign itself where it has none.
WITH this AS (
    SELECT c.tenant_id, v.definition -> 'message' ->> 'template' AS template
    FROM campaigns AS c
    JOIN campaign_versions AS v USING (campaign_id)
    WHERE c.campaign_id = %(campaign_id)s
    ORDER BY v.version DESC
    LIMIT 1
), with_it AS (
    SELECT 'campaign:' || %(campaign_id)s AS scope
    UNION
    SELECT 'campaign:' || c.campaign_id
    FROM this
    JOIN campaigns AS c USING (tenant_id)
    JOIN campaign_versions AS v ON v.campaign_id = c.campaign_id
    WHERE c.cancelled_at IS NULL AND v.definition -> 'message' ->> 'template' = this.template
)
INSERT INTO sending_stops (scope, reason)
SELECT w.scope, %(reason)s::text
FROM with_it AS w
WHERE NOT is_released_since(w.scope, to_timestamp(%(at_ms)s / 1000.0))
ON CONFLICT DO NOTHING;
