-- Rate limits of the edge that a tenant has of its own, by name (schemas/tenant_limits.py), and their version in the topic.
SET LOCAL lock_timeout = '5s';  -- a migration that waits for a lock stops everything behind it: better run it again

ALTER TABLE tenants ADD COLUMN limits jsonb NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN version integer NOT NULL DEFAULT 0;
