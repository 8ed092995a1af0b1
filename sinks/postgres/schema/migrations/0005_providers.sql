-- An attempt keeps its provider, the provider's code as text, and the action that was taken.
-- Columns without a default: no row is rewritten. Rows of before stay as they are: `code` holds their number, no
-- provider means the Cloud API, which was the only one; no action means that none was kept.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE delivery_attempts
    ADD COLUMN provider      text,  -- as in sender_numbers
    ADD COLUMN provider_code text,  -- the provider's own, for operators
    ADD COLUMN action        text;  -- of a rejection (sinks/actions.py)

-- Webhooks of the Cloud API were filed as `whatsapp`, its numbers as `meta-cloud`: one provider, one name from now on.
CREATE FUNCTION provider_name(stored text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN CASE coalesce(stored, 'whatsapp') WHEN 'whatsapp' THEN 'meta-cloud' ELSE stored END;
CREATE FUNCTION former_provider_name(provider text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN CASE provider WHEN 'meta-cloud' THEN 'whatsapp' END;
