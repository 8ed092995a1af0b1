-- How a quiz is shown to a person (schemas/quiz_page.py): NULL where nothing was said. And the language of a tenant's pages.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE quizzes ADD COLUMN page jsonb;
ALTER TABLE tenants ADD COLUMN language text NOT NULL DEFAULT 'pt-BR' CHECK (language IN ('pt-BR', 'en'));
