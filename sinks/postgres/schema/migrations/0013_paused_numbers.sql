-- A limit of a provider's account holds for all its numbers, in every sender process, and after a restart.
ALTER TABLE sender_numbers ADD COLUMN paused_until timestamptz;
