-- listening --
SELECT DISTINCT tenant_id FROM webhook_endpoints WHERE tenant_id = ANY (%s) AND state = 'active';

-- insert_messages --
-- The id follows from event and endpoint, so that a second write changes nothing and a receiver can drop a repeat. An event from
-- before its endpoint is not sent. One whose delivery has a message that waits for its retry is not due before that.
WITH given AS (
    SELECT *
    FROM unnest(%(tenants)s::text[], %(deliveries)s::uuid[], %(sequences)s::integer[], %(kinds)s::text[], %(times)s::bigint[],
                %(contents)s::text[]) AS g (tenant_id, delivery_id, sequence, kind, at_ms, content)
), matched AS (
    SELECT 'msg_' || left(encode(sha256(convert_to(concat_ws('|', e.endpoint_id, g.delivery_id, g.sequence, g.kind), 'UTF8')),
                                 'hex'), 40) AS message_id,
           g.tenant_id, e.endpoint_id, g.delivery_id, g.sequence, g.kind, g.content
    FROM given AS g
    JOIN webhook_endpoints AS e ON e.tenant_id = g.tenant_id AND g.kind = ANY (e.kinds) AND e.state = 'active'
     AND to_timestamp(g.at_ms / 1000.0) >= date_trunc('milliseconds', e.created_at)
), inserted AS (
    INSERT INTO webhook_messages (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind, content, due_at)
    SELECT message_id, tenant_id, endpoint_id, delivery_id, sequence, kind, content,
           greatest(clock_timestamp(), (
               SELECT max(before.due_at) FROM webhook_messages AS before
               WHERE before.endpoint_id = m.endpoint_id AND before.delivery_id = m.delivery_id AND before.state = 'pending'
                 AND before.lease IS NULL AND before.attempts > 0
           ))
    FROM matched AS m
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM matched)::integer AS matched, (SELECT count(*) FROM inserted)::integer AS inserted;
