-- lock_quiz --
SELECT 1 FROM quizzes WHERE quiz_id = %(id)s AND tenant_id = %(tenant)s FOR UPDATE;
