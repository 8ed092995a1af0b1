-- try_lock --
-- Never waits: a session that waits within a statement holds a snapshot, which a concurrent build would wait for.
SELECT pg_try_advisory_lock(%s);

-- unlock --
SELECT pg_advisory_unlock(%s);

-- unfinished --
-- Partitions without their part of an index that was made on the parent alone.
SELECT i.indexrelid::regclass::text AS index_name, i.indrelid::regclass::text AS parent,
       p.inhrelid::regclass::text AS partition, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'I'
JOIN pg_inherits AS p ON p.inhparent = i.indrelid
WHERE NOT i.indisvalid
  AND NOT EXISTS (
      SELECT FROM pg_inherits AS part
      JOIN pg_index AS child ON child.indexrelid = part.inhrelid
      WHERE part.inhparent = i.indexrelid AND child.indrelid = p.inhrelid
  )
ORDER BY 1, 3;

-- broken_off --
-- Left by a build that was interrupted: it is maintained with every write, and never used.
SELECT EXISTS (
    SELECT FROM pg_index WHERE indexrelid = to_regclass(%(name)s) AND NOT indisvalid
) AS invalid, to_regclass(%(name)s) IS NOT NULL AS present;
