-- create_contacts_batch --
CREATE TEMPORARY TABLE IF NOT EXISTS contacts_batch (
    tenant_id  text NOT NULL,
    contact_id text NOT NULL,
    phone      text,
    name       text,
    email      text,
    seen_at    bigint NOT NULL,
    name_at    bigint NOT NULL,
    email_at   bigint NOT NULL
) ON COMMIT DELETE ROWS;

-- clear_contacts_batch --
DELETE FROM contacts_batch;

-- copy_contacts --
COPY contacts_batch FROM STDIN (FORMAT binary);

-- merge_contacts --
-- Each field keeps what was stated last, in whatever order the completions come. A time in the future is of a clock that
-- was wrong: it counts as now when it comes, and as overtaken when it is there. Sorted by key, so that two sinks that
-- meet the same contacts wait for each other instead of locking each other out.
WITH stated AS (
    SELECT tenant_id, contact_id, phone, name, email,
        least(to_timestamp(seen_at / 1000.0), now()) AS seen_at,
        CASE WHEN name IS NOT NULL THEN least(to_timestamp(name_at / 1000.0), now()) END AS name_at,
        CASE WHEN email IS NOT NULL THEN least(to_timestamp(email_at / 1000.0), now()) END AS email_at
    FROM contacts_batch
)
INSERT INTO contacts AS c (tenant_id, contact_id, phone, name, email, seen_at, name_at, email_at)
SELECT tenant_id, contact_id, phone, name, email, seen_at, name_at, email_at
FROM stated
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE
SET phone = coalesce(c.phone, excluded.phone),
    name = CASE WHEN is_newer(c.name IS NOT NULL, coalesce(c.name_at, c.seen_at), excluded.name_at)
                THEN excluded.name ELSE c.name END,
    name_at = CASE WHEN is_newer(c.name IS NOT NULL, coalesce(c.name_at, c.seen_at), excluded.name_at)
                   THEN excluded.name_at ELSE coalesce(c.name_at, c.seen_at) END,
    email = CASE WHEN is_newer(c.email IS NOT NULL, coalesce(c.email_at, c.seen_at), excluded.email_at)
                 THEN excluded.email ELSE c.email END,
    email_at = CASE WHEN is_newer(c.email IS NOT NULL, coalesce(c.email_at, c.seen_at), excluded.email_at)
                    THEN excluded.email_at ELSE coalesce(c.email_at, c.seen_at) END,
    seen_at = greatest(least(c.seen_at, now()), excluded.seen_at)
WHERE c.seen_at < excluded.seen_at OR c.seen_at > now() OR c.phone IS NULL
   OR is_newer(c.name IS NOT NULL, coalesce(c.name_at, c.seen_at), excluded.name_at)
   OR is_newer(c.email IS NOT NULL, coalesce(c.email_at, c.seen_at), excluded.email_at);
