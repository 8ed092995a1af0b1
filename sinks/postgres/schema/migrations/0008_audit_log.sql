-- What operators did: one row for each action, written in the transaction of its change. `detail` holds no personal
-- data. Rows are kept for postgres.audit_log_days of topology.yaml.

CREATE TABLE audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor    text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_log_by_time ON audit_log (at);
