"""Reads a CSV file of answers as a stream: one row per respondent, one column per question.

Line numbers are those of the file (the header is line 1). A row that cannot be read is reported; reading
continues at the next line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pipeline.errors import OperatorError

COLUMNS_MAX = 200  # the edge's `answers_max`
CELL_CHARS_MAX = 65536
NAME_CHARS_MAX = 128
MISSING = frozenset({"", "NA"})

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}")


class HeaderInvalid(OperatorError):
    """The file cannot be used. The message is one line: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """`answers`: question -> answer, without unanswered questions; `contact`: unchanged from the file."""

    line: int
    answers: dict[str, str | int | float]
    contact: str | None


@dataclass(frozen=True, slots=True)
class Malformed:
    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """A file with a valid header."""

    path: Path
    questions: tuple[str, ...]
    contact_column: str | None

    @classmethod
    def open(cls, path: Path, contact_column: str | None = None) -> AnswerTable:
        """Read the header. Raises HeaderInvalid."""
        try:
            with _text(path) as file:
                header = _header(path, file)
        except OSError as error:
            raise HeaderInvalid(f"Cannot read {path}: {error.strerror}.") from error
        if contact_column is not None and contact_column not in header:
            raise HeaderInvalid(
                f"{path} has no column {contact_column!r} for the contact: it has {', '.join(header[:20])}."
            )
        questions = tuple(name for name in header if name != contact_column)
        if not questions:
            raise HeaderInvalid(f"{path} has no column with answers.")
        return cls(path, questions, contact_column)

    def rows(self) -> Iterator[Row | Malformed]:
        """Yield every row after the header, in order; blank lines are skipped."""
        csv.field_size_limit(CELL_CHARS_MAX)
        with _text(self.path) as file:
            lines = _Lines(file)
            header = next(csv.reader(lines))
            while True:
                lines.begin_record()
                first_line = lines.number + 1
                try:
                    # One reader per record: after an error the state of a shared one is undefined.
                    cells = next(csv.reader(lines, strict=True))
                except StopIteration:
                    return
                except csv.Error as error:
                    lines.resume_after_first_line()
                    yield Malformed(first_line, f"not readable as CSV ({error})")
                    continue
                if cells:
                    yield self._row(first_line, header, cells)

    def _row(self, line: int, header: list[str], cells: list[str]) -> Row | Malformed:
        if len(cells) != len(header):
            return Malformed(line, f"has {len(cells)} cells, the header has {len(header)}")
        if any(_NOT_UTF8.search(cell) for cell in cells):
            return Malformed(line, "is not UTF-8: save the file as UTF-8")
        answers: dict[str, str | int | float] = {}
        contact: str | None = None
        for name, cell in zip(header, cells, strict=True):
            name = name.strip()
            if cell.strip() in MISSING:
                continue
            if name == self.contact_column:
                contact = cell.strip()
            else:
                answers[name] = answer(cell)
        return Row(line, answers, contact)


def answer(cell: str) -> str | int | float:
    """Return a number if the cell is its canonical notation, so that the number's text equals the cell.

    >>> answer("4"), answer("2.5"), answer("007"), answer("1e3")
    (4, 2.5, '007', '1e3')
    """
    if _INTEGER.fullmatch(cell) and cell != "-0":
        return int(cell)
    if _DECIMAL.fullmatch(cell) and repr(float(cell)) == cell:
        return float(cell)
    return cell


def _text(path: Path) -> TextIO:
    # utf-8-sig drops the byte order mark that spreadsheets write; invalid bytes become lone surrogates, so
    # that only their own row is invalid.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _header(path: Path, file: TextIO) -> list[str]:
    csv.field_size_limit(CELL_CHARS_MAX)
    try:
        header = [name.strip() for name in next(csv.reader(file, strict=True), [])]
    except csv.Error as error:
        raise HeaderInvalid(f"{path} line 1 is not readable as CSV ({error}).") from error
    if not any(header):
        raise HeaderInvalid(f"{path} is empty: line 1 must name the columns.")
    if len(header) > COLUMNS_MAX:
        raise HeaderInvalid(f"{path} has {len(header)} columns: {COLUMNS_MAX} is the most a quiz can have.")
    for number, name in enumerate(header, 1):
        if not name:
            raise HeaderInvalid(f"{path} line 1: column {number} has no name, every column needs one.")
        if _NOT_UTF8.search(name):
            raise HeaderInvalid(f"{path} line 1: the name of column {number} is not UTF-8: save it as UTF-8.")
        if len(name) > NAME_CHARS_MAX:
            raise HeaderInvalid(f"{path} line 1: column {number}'s name is over {NAME_CHARS_MAX} characters.")
        if header.index(name) != number - 1:
            raise HeaderInvalid(
                f"{path} line 1: columns {header.index(name) + 1} and {number} are both named {name!r}, "
                "every name must be there once."
            )
    return header


class _Lines:
    """Physical lines with their numbers; can go back to the second line of the current record."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._record.append(line)
        self.number += 1
        return line

    def begin_record(self) -> None:
        self._record = []

    def resume_after_first_line(self) -> None:
        self._again.extendleft(reversed(self._record[1:]))
        self.number -= len(self._record) - 1
