-- enqueue --
INSERT INTO outbox (topic, key, value) VALUES (%s, %s, %s);

-- enqueue_copy --
COPY outbox (topic, key, value) FROM STDIN (FORMAT binary);

-- try_lead --
-- Of the session: a publisher that dies gives it up, one that hangs keeps it until its connection ends.
SELECT pg_try_advisory_lock(%s);

-- next_rows --
-- Below the horizon: a transaction that is still open may hold smaller ids than those that can be seen, and they
-- must not be passed. Rows of one key are in the order of their ids, because their object's row is locked first.
SELECT id, topic, key, value, tenant_id
FROM outbox
WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) AND id <> ALL (%s) AND set_aside_at IS NULL
ORDER BY id
LIMIT %s;

-- any_rows --
SELECT EXISTS (SELECT FROM outbox WHERE set_aside_at IS NULL);

-- set_aside --
-- Kafka never takes them as they are: they wait for the operator, or for a later event of their key.
UPDATE outbox SET set_aside_at = clock_timestamp() WHERE id = ANY (%s);

-- try_set_aside_again --
-- Once for each publisher: since the last one, a topic may take larger records.
UPDATE outbox SET set_aside_at = NULL WHERE set_aside_at IS NOT NULL;

-- supersede --
-- Of what was set aside, that of a key whose later event is published: after it, the earlier one would be wrong.
DELETE FROM outbox AS o
USING outbox AS later
WHERE o.id = ANY (%(aside)s) AND later.id = ANY (%(done)s)
  AND o.topic = later.topic AND o.key = later.key AND o.id < later.id
RETURNING o.id;

-- delete_rows --
DELETE FROM outbox WHERE id = ANY(%s);

-- depth_and_age --
-- Bounded, because counting a long queue would slow down what empties it.
SELECT count(*) AS waiting,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::double precision AS age_s
FROM (SELECT created_at FROM outbox WHERE set_aside_at IS NULL ORDER BY id LIMIT %s) AS waiting;
