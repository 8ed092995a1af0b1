"""Parses the body of a report of progress."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_api.http.json_errors import misshapen, not_json, require_each_key_once
from schemas.records import ProgressKind

POSITION_MAX = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

VisitId = Annotated[
    str, Meta(pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")
]
Position = Annotated[int, Meta(ge=1, le=POSITION_MAX)]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that a client sends. It has no answer and nothing about the person.

    The question is the one that the person reached: by its id, or by its position from 1.
    """

    visit_id: VisitId
    kind: ProgressKind
    question_id: str | UnsetType | None = UNSET
    position: Position | UnsetType | None = UNSET
    at: Annotated[datetime, Meta(tz=True)] | UnsetType | None = UNSET

    @property
    def at_ms(self) -> int | None:
        return (self.at - _EPOCH) // _MILLISECOND if isinstance(self.at, datetime) else None


_decoder = msgspec.json.Decoder(Report)


def parse(body: bytes) -> Report:
    """Decode and check the body. Raises Rejection: invalid-json, invalid-body or repeated-field."""
    try:
        report = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise misshapen(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    require_each_key_once(body)
    return report
