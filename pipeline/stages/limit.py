"""Sliding windows over the allowed completions of a contact, in event time.

A completion accepted at t is compared with the completions allowed in (t - window, t], so its verdict does
not depend on the time of processing. Over the limit is a verdict, never a drop; limited completions fill no
window.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.campaigns.registry import Campaigns
from pipeline.stages.contact_memory import Allowed
from pipeline.topology.file import Window, Windows
from schemas.records import Completion


class Limited(msgspec.Struct, frozen=True):
    """The verdict `limited`. `reason` names the full window, its limit and its length."""

    reason: str


class LimitStep:
    """The step `limit`: decides `limited` where a window is full, else leaves the completion to the next."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def __call__(
        self, completion: Completion, allowed: Sequence[Allowed], campaigns: Campaigns
    ) -> Limited | None:
        return limit(completion.accepted_at, completion.quiz_id, allowed, self._windows)


def limit(accepted_at: int, quiz_id: str, allowed: Sequence[Allowed], windows: Windows) -> Limited | None:
    """None where one more completion of the contact, accepted then (ms), fits beside those `allowed`."""
    contact_from = accepted_at - windows.contact.window_s * 1000
    quiz_from = accepted_at - windows.contact_quiz.window_s * 1000
    of_contact = of_quiz = 0
    for entry in allowed:
        at = entry.accepted_at
        if at > accepted_at:
            continue
        if at > contact_from:
            of_contact += 1
        if at > quiz_from and entry.quiz_id == quiz_id:
            of_quiz += 1
    if of_contact >= windows.contact.limit:
        return Limited(_reason("contact", windows.contact))
    if of_quiz >= windows.contact_quiz.limit:
        return Limited(_reason("contact_quiz", windows.contact_quiz))
    return None


def _reason(name: str, window: Window) -> str:
    return f"{name}: {window.limit} in {window.window_s} s"
