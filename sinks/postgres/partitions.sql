-- is_partition --
-- A table of that name that was never attached is not a partition.
SELECT 1
FROM pg_inherits
JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
WHERE child.oid = to_regclass(%s);

-- limit_lock_wait --
-- Until the end of the transaction: nobody queues for long behind a creation that waits for a lock.
SELECT set_config('lock_timeout', %s, true);

-- lock_partitions --
-- One creator a table at a time: the one that waits sees what the other made.
SELECT pg_advisory_xact_lock(hashtextextended('partitions of ' || %s::text, 0));

-- isolate --
-- Row-level security is not among what LIKE includes.
SELECT isolate_partition(%s::text::regclass, %s::text::regclass);
