"""Sliding windows over what a contact was allowed, in event time.

A completion accepted at t is held against the completions allowed in (t - window, t], so its verdict does not
depend on when it is judged. Over the limit is a verdict, never a drop; what was limited fills no window.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.stages.contact_memory import Allowed as Remembered
from pipeline.topology.file import Window, Windows


class Allowed(msgspec.Struct, frozen=True):
    """Every window has room."""


class Limited(msgspec.Struct, frozen=True):
    reason: str  # the window that was full, its limit and its length


def limit(
    accepted_at: int, quiz_id: str, allowed: Sequence[Remembered], windows: Windows
) -> Allowed | Limited:
    """Whether one more completion of the contact, accepted then (ms), fits beside those already `allowed`."""
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
    return Allowed()


def _reason(name: str, window: Window) -> str:
    return f"{name}: {window.limit} in {window.window_s} s"
