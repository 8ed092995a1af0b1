-- funnel --
-- One query over the days asked for. A delivery is counted in every step that it has reached.
SELECT
    (SELECT count(*) FROM visits AS v
     WHERE v.tenant_id = %(tenant)s AND v.quiz_id = %(quiz)s AND v.day BETWEEN %(since)s AND %(until)s) AS started,
    (SELECT count(*) FROM completions AS c
     WHERE c.tenant_id = %(tenant)s AND c.quiz_id = %(quiz)s AND c.day BETWEEN %(since)s AND %(until)s) AS completed,
    count(DISTINCT d.completion_id) AS matched,
    count(*) FILTER (WHERE d.state IN ('sent', 'delivered', 'read')) AS sent,
    count(*) FILTER (WHERE d.state IN ('delivered', 'read')) AS delivered,
    count(*) FILTER (WHERE d.state = 'read') AS read,
    count(*) FILTER (WHERE d.state = 'failed') AS failed,
    count(*) FILTER (WHERE d.state = 'suppressed') AS suppressed
FROM deliveries AS d
WHERE d.tenant_id = %(tenant)s AND d.completion_day BETWEEN %(since)s AND %(until)s
  AND EXISTS (
      SELECT FROM campaign_versions AS v
      WHERE v.campaign_id = d.campaign_id AND v.version = d.campaign_version
        AND v.definition -> 'quiz_ids' @> to_jsonb(%(quiz)s::text)
  );
