"""The one error of the topology."""

from __future__ import annotations

from pipeline.errors import OperatorError


class TopologyError(OperatorError):
    """One line for the operator: which place of the file is wrong, and why."""
