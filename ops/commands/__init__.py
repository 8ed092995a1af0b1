"""The commands, one verb per file; each parses its options, calls the module that works, and prints."""
