"""The errors with which the catalogue rejects a change."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import OperatorError


class Rejection(OperatorError):
    """`problems` has one line for each; nothing was saved."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        super().__init__(f"{subject}: {'; '.join(problems)}")
        self.subject = subject
        self.problems = tuple(problems)


class UnknownTenant(Rejection):
    """Save the tenant first."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(tenant_id, ["there is no such tenant"])
