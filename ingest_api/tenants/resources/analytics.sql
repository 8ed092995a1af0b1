-- funnel --
-- One query over the days asked for. A delivery is counted in every step that it has reached; a campaign may be that of
-- several quizzes, so its completion decides.
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
      SELECT FROM completions AS c
      WHERE c.day = d.completion_day AND c.completion_id = d.completion_id AND c.quiz_id = %(quiz)s
        AND c.tenant_id = %(tenant)s
  );
