"""How a test makes a quiz of its own."""

from collections.abc import Callable

Make = Callable[[str, int], None]  # the quiz id, and rows that no campaign matches
