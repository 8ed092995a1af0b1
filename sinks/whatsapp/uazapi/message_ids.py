"""The id of a message: WhatsApp's own, which receipts have; that of the API is `owner:id`."""

from __future__ import annotations

from collections.abc import Mapping

from sinks.outcomes import plain


def message_id(message: Mapping[str, object]) -> str | None:
    for key in ("messageid", "id"):
        found = message.get(key)
        if isinstance(found, str) and (stated := plain(found).strip().rpartition(":")[2]):
            return stated
    return None
