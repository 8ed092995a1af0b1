-- lock_numbers --
SELECT number_id, provider
FROM sender_numbers
WHERE tenant_id = %(tenant)s AND channel = %(channel)s
ORDER BY number_id
FOR UPDATE;

-- set_weights --
-- An operator's weights are for every contact, also for those who are known for longer than the number.
UPDATE sender_numbers AS n
SET weight = g.weight, weighted = true, open_since = '-infinity'
FROM unnest(%(numbers)s::text[], %(weights)s::integer[]) AS g (number_id, weight)
WHERE n.number_id = g.number_id
  AND (n.weight, n.weighted, n.open_since) IS DISTINCT FROM (g.weight, true, '-infinity'::timestamptz);
