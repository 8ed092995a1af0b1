"""The semantics of a campaign's conditions.

A condition compares one field of a completion (`score`, `answered`, `answers.<question_id>`) with its values:

- Numbers compare as numbers in every encoding: `"8"`, `8` and `8.0` are one value, and whole numbers
  are exact at any length. Text that is not a plain decimal number compares as text, case-sensitive.
- A boolean is the text `true` or `false`.
- NaN and the infinities equal nothing and have no order.
- An answer of several choices equals each of its choices; only a single value has an order.
- `lt`, `lte`, `gt`, `gte` hold between two numbers only.
- A field without a value makes every operator false but `absent`.
- `one_of` holds for any of its values, `ne` where `eq` would not.
- A condition that cannot be evaluated (an operator without its value, a bound that is not a number, an
  unknown field) never holds, so that a mistake sends nothing. `problems` reports it when the campaign is
  saved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.records import Answer, Completion, Condition, Op

Number = int | float
Scalar = int | float | str

ANSWERS = "answers."
DIGITS_MAX = 64  # longer numerals are text: turning them into numbers costs more than linear time
_NUMERAL = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]+)?")
_ORDERED: frozenset[Op] = frozenset(("lt", "lte", "gt", "gte"))
_VALUELESS: frozenset[Op] = frozenset(("exists", "absent"))


def canonical(value: str | float | bool) -> Scalar | None:
    """The value that comparisons use; None for NaN and infinities. Equal values have equal hashes."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > DIGITS_MAX or (parts := _NUMERAL.fullmatch(text)) is None:
            return value
        if parts.group(1, 2, 3) == (None, None, None):
            return int(text)
        number = float(text)
        return number if math.isfinite(number) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if math.isfinite(value) else None


class Subject:
    """The fields of a completion as comparable values, each converted once and only if needed."""

    __slots__ = ("_known", "completion")

    def __init__(self, completion: Completion) -> None:
        self.completion = completion
        self._known: dict[str, tuple[Scalar, ...] | None] = {}

    def values(self, field: str) -> tuple[Scalar, ...] | None:
        """None if the field has no value; empty if its value compares with nothing (NaN)."""
        try:
            return self._known[field]
        except KeyError:
            values = self._known[field] = self._read(field)
            return values

    def _read(self, field: str) -> tuple[Scalar, ...] | None:
        value: Answer | None
        if field.startswith(ANSWERS):
            value = self.completion.answers.get(field[len(ANSWERS) :])
        elif field == "score":
            value = self.completion.score
        elif field == "answered":
            value = len(self.completion.answers)
        else:
            value = None
        if value is None:
            return None
        choices = value if isinstance(value, list) else (value,)
        return tuple(scalar for choice in choices if (scalar := canonical(choice)) is not None)


@dataclass(frozen=True, slots=True)
class Test:
    """A condition compiled for repeated evaluation."""

    field: str
    op: Op
    targets: frozenset[Scalar]  # of eq, ne, one_of
    bound: Number | None  # of lt, lte, gt, gte; None: never holds

    __test__ = False  # not a test case, for pytest

    def holds(self, subject: Subject) -> bool:
        values = subject.values(self.field)
        op = self.op
        if values is None:
            return op == "absent"
        if op == "eq" or op == "one_of":
            return not self.targets.isdisjoint(values)
        if op == "ne":
            return bool(self.targets) and self.targets.isdisjoint(values)
        if op in _ORDERED:
            return len(values) == 1 and _in_order(op, values[0], self.bound)
        return op == "exists"


def _in_order(op: Op, value: Scalar, bound: Number | None) -> bool:
    if bound is None or isinstance(value, str):
        return False
    if op == "lt":
        return value < bound
    if op == "lte":
        return value <= bound
    if op == "gt":
        return value > bound
    return value >= bound


def compile_condition(condition: Condition) -> Test:
    scalars = [scalar for value in condition.values if (scalar := canonical(value)) is not None]
    bound: Number | None = None
    if condition.op in _ORDERED and len(scalars) == 1 and not isinstance(scalars[0], str):
        bound = scalars[0]
    if condition.op in ("eq", "ne") and len(condition.values) != 1:
        scalars = []
    known = condition.field in ("score", "answered") or condition.field.startswith(ANSWERS)
    op: Op = condition.op if known else "eq"  # an equality with nothing never holds
    return Test(condition.field, op, frozenset(scalars) if known else frozenset(), bound)


def problems(conditions: Sequence[Condition], question_ids: frozenset[str] | None = None) -> list[str]:
    """Why these conditions must be rejected when a campaign is saved, a line each; empty where sound.

    `question_ids` are the questions of the campaign's quizzes; None leaves them unchecked.
    """
    found = []
    for position, condition in enumerate(conditions, 1):
        where = f"condition {position} ({condition.field} {condition.op})"
        field = condition.field
        if field.startswith(ANSWERS):
            question_id = field[len(ANSWERS) :]
            if not question_id.strip() or (question_ids is not None and question_id not in question_ids):
                found.append(f"{where}: no such question")
        elif field not in ("score", "answered"):
            found.append(f"{where}: the field must be score, answered or answers.<question_id>")
        wanted = 0 if condition.op in _VALUELESS else 1
        if condition.op == "one_of":
            if not condition.values:
                found.append(f"{where}: needs at least one value")
        elif len(condition.values) != wanted:
            found.append(f"{where}: needs {'no value' if wanted == 0 else 'exactly one value'}")
        scalars = [canonical(value) for value in condition.values]
        if None in scalars:
            found.append(f"{where}: NaN and infinities compare with nothing")
        elif condition.op in _ORDERED and any(isinstance(scalar, str) for scalar in scalars):
            found.append(f"{where}: needs a number")
    return found
