"""The cache service: a copy in the process, one in Valkey, and a source behind both."""
