"""The simulated Evolution API, in its own words: the texts of errors are in `response.message`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ops.simulator.common.instances import object_of, text_in
from ops.simulator.common.session_answers import Message, Refusal, Request, whatsapp_id_of

NAMES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests"}
MEDIA = frozenset({"image", "video", "document"})
RECIPIENT = re.compile(r"[1-9][0-9]{7,14}\Z", re.ASCII)


def _error(status: int, text: str, shown: Any = None) -> Refusal:
    """`shown` is what stands in `response.message` for this text."""
    name = NAMES.get(status, "Internal Server Error")
    content = {"status": status, "error": name, "response": {"message": shown or [text]}}
    return Refusal(status, text, msgspec.json.encode(content))


MISSING = _error(400, 'instance requires property "text"')
UNCLEAR = _error(500, "Error: Connection Closed")


def not_on_whatsapp(number: str) -> Refusal:
    found = [{"jid": f"{number}@s.whatsapp.net", "exists": False, "number": number}]
    return _error(400, "exists: false", found)


class EvolutionWords:
    name = "evolution"
    accepted_status = 201
    no_token = _error(401, "Unauthorized", "Unauthorized")
    bad_token = _error(401, "Unauthorized", "Unauthorized")
    session_lost = UNCLEAR  # the API does not state that nothing was sent
    too_many = _error(429, "Too many requests")

    def request_of(self, kind: str, body: bytes) -> Request | Refusal:
        content = object_of(body)
        to, text = content.get("number"), content.get("text")
        if not isinstance(to, str) or not to:
            return _error(400, 'instance requires property "number"')
        if kind == "sendText" and not (isinstance(text, str) and text.strip()):
            return MISSING
        if kind == "sendMedia" and (
            content.get("mediatype") not in MEDIA or not isinstance(content.get("media"), str)
        ):
            return _error(400, 'instance requires property "mediatype"')
        return Request(to, content) if RECIPIENT.match(to) else not_on_whatsapp(to)

    def recipient_in(self, body: bytes) -> str:
        return text_in(body, "number")

    def message_id_of(self, number: str, sequence: int) -> str:
        return whatsapp_id_of(number, sequence)

    def refusal_of(self, code: int, status: int | None, to: str) -> Refusal:
        causes = {
            0: self.no_token,
            190: self.bad_token,
            130429: self.too_many,
            131057: self.too_many,  # the only rejection of this API that asks for a retry
            131026: not_on_whatsapp(to),
        }
        if code in causes:
            return causes[code]
        return MISSING if status is not None and 400 <= status < 500 else UNCLEAR

    def message_of(
        self, number: str, to: str, message_id: str, attempt_id: str | None, content: dict[str, Any]
    ) -> Message:
        key = {"remoteJid": f"{to}@s.whatsapp.net", "fromMe": True, "id": message_id}
        shown = {"key": key, "status": "PENDING", "messageType": "conversation"}
        return Message(number, to, message_id, attempt_id, shown)

    def accepted(self, message: Message) -> bytes:
        return msgspec.json.encode(message.shown)

    def error_in(self, body: str) -> str | None:
        response = object_of(body.encode()).get("response")
        found = response.get("message") if isinstance(response, dict) else None
        first = found[0] if isinstance(found, list) and found else found
        return first if isinstance(first, str) else None


WORDS = EvolutionWords()


def webhook_in(body: bytes) -> str:
    """The address of `POST /webhook/set/{instance}`; empty where it states none."""
    found = object_of(body).get("webhook")
    url = found.get("url") if isinstance(found, dict) else None
    return url if isinstance(url, str) else ""
