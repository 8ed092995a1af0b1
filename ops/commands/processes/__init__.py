"""Commands that start, restart and end processes."""
