"""The parrot's webhooks: one object a body, verified by a secret in the address, with no handshake."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import msgspec

from sinks.webhook import RECEIVED, NotAWebhook, Secrets, Status, Webhook, WebhookRequest

STATUSES = {"Heard": "delivered", "Repeated": "read"}


class _Body(msgspec.Struct, frozen=True):
    cage: str
    id: str
    state: str
    track: str | None = None


class ParrotWebhooks:
    provider = "parrot"
    signing_variable = "PARROT_WEBHOOK_SECRET"
    verify_token_variable = None
    acknowledgement = RECEIVED

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> str | None:
        return None

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        return hmac.compare_digest(request.query.get("key", "").encode(), secrets.signing)

    def stored(self, request: WebhookRequest) -> bytes:
        return request.body

    def account_of(self, body: bytes) -> str | None:
        try:
            return msgspec.json.decode(body, type=_Body).cage
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        try:
            told = msgspec.json.decode(body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NotAWebhook("the body is no squawk") from None
        status = Status(told.id, STATUSES.get(told.state, told.state.lower()), received_at_ms, told.track)
        return Webhook(self.provider, (status,), (), 0)

    def is_opt_out(self, code: str) -> bool:
        return False


SOURCE = ParrotWebhooks()
