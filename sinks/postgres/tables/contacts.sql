-- create_contacts_batch --
CREATE TEMPORARY TABLE IF NOT EXISTS contacts_batch (
    tenant_id  text NOT NULL,
    contact_id text NOT NULL,
    phone      text,
    name       text,
    email      text,
    seen_at    bigint NOT NULL
) ON COMMIT DELETE ROWS;

-- clear_contacts_batch --
DELETE FROM contacts_batch;

-- copy_contacts --
COPY contacts_batch FROM STDIN (FORMAT binary);

-- merge_contacts --
-- The newest completion's values win, whole, in whatever order they come. Sorted by key, so that two sinks that
-- meet the same contacts wait for each other instead of locking each other out.
INSERT INTO contacts (tenant_id, contact_id, phone, name, email, seen_at)
SELECT tenant_id, contact_id, phone, name, email, to_timestamp(seen_at / 1000.0)
FROM contacts_batch
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE
SET phone = excluded.phone, name = excluded.name, email = excluded.email, seen_at = excluded.seen_at
WHERE contacts.seen_at < excluded.seen_at;
