"""One verb a file; each takes its options, calls what does the work, and says how it went."""
