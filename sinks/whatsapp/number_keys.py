"""The key in the webhook address of a session number: `/webhooks/{provider}/{number}?key=...`. Pure."""

from __future__ import annotations

import hashlib
import hmac

from sinks.webhook import Secrets, WebhookRequest
from sinks.whatsapp.jids import person_id

KEY_PARAMETER = "key"
UNSTATED = "-"  # instead of a number that a body does not state: none has this id


def has_key(request: WebhookRequest, secrets: Secrets) -> bool:
    """Whether the address has the key whose SHA-256 (hex) is `secrets.signing`. Constant in time."""
    given = request.query.get(KEY_PARAMETER, "").encode("utf-8", "replace")
    return hmac.compare_digest(hashlib.sha256(given).hexdigest().encode(), secrets.signing)


def own_number(stated: str) -> str:
    """The number in what a body states: as it is, or out of an id of a chat (`5511...:12@s.whatsapp.net`)."""
    return person_id(stated) or stated
