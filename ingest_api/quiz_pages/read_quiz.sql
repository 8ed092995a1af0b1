-- Reads what a page shows. Right answers are left out here, so that nothing behind this query has them.
SELECT
    quizzes.version,
    quizzes.title,
    quizzes.open,
    coalesce(
        (SELECT jsonb_agg(question.value - 'right_answer' ORDER BY question.place)
         FROM jsonb_array_elements(quizzes.questions) WITH ORDINALITY AS question (value, place)),
        '[]'
    ),
    quizzes.page,
    tenants.language
FROM quizzes
JOIN tenants USING (tenant_id)
WHERE quizzes.quiz_id = %s AND quizzes.version > 0;
