"""Bounds the completions in work at once, so that an overload is answered and does not become waiting."""
