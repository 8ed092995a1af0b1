-- visits_by_question --
-- Of one quiz: a range of its key in each day. A visit that has reported nothing for a while counts as left (`silent`),
-- though its state is still started or progressed: no job changes it.
SELECT furthest, question_id, state,
       state IN ('started', 'progressed') AND last_seen_at < %(silent_before)s AS silent,
       count(*) AS visits
FROM visits
WHERE day BETWEEN %(since)s AND %(until)s AND quiz_id = %(quiz_id)s
GROUP BY 1, 2, 3, 4;
