"""The one error of the topology."""

from __future__ import annotations


class TopologyError(ValueError):
    """One line for the operator: which place of the file is wrong, and why."""
