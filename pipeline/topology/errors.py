"""The one error of the topology."""

from __future__ import annotations

from pipeline.errors import OperatorError


class TopologyError(OperatorError):
    """An error in the topology file: one line with the place and the problem."""
