-- Numbers that are slower than one message a second, and sender processes that share the numbers.

-- Wins over messages_per_s.
ALTER TABLE sender_numbers ADD COLUMN messages_per_minute integer;

-- Who sends: a row is renewed with the leases of its numbers. Each process holds its share of the numbers that it
-- has the secret for; of a process that died the row runs out with its leases.
CREATE TABLE sender_processes (
    owner       text PRIMARY KEY,
    providers   text[] NOT NULL,
    credentials text[] NOT NULL,
    alive_until timestamptz NOT NULL
);
