"""Cost of a record as the deployment grows: `quizstream bench growth`."""

from benchmarks.scenarios.growth.curves import measure

__all__ = ["measure"]
