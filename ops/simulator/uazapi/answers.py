"""The simulated UAZAPI, in its own words: there are no codes, only statuses and texts."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ops.simulator.common.instances import Instances, object_of, text_in
from ops.simulator.common.misbehaviour import Answer
from ops.simulator.common.session_answers import Message, Refusal, Request, whatsapp_id_of

NOT_CONNECTED = "WhatsApp disconnected"
MEDIA = frozenset({"image", "video", "document", "audio", "myaudio", "ptt", "sticker"})
RECIPIENT = re.compile(r"[1-9][0-9]{7,14}\Z", re.ASCII)
PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")


def _error(status: int, text: str) -> Refusal:
    return Refusal(status, text, msgspec.json.encode({"error": text}))


def _flagged(status: int, text: str) -> Refusal:
    return Refusal(status, text, msgspec.json.encode({"error": True, "message": text}))


MISSING = _error(400, "Missing number or text")
BAD_MEDIA = _error(400, "Invalid media type or file format")
UNCLEAR = _error(500, "Failed to send message")


def not_on_whatsapp(number: str) -> Refusal:
    return _error(500, f"the number {number}@s.whatsapp.net is not on WhatsApp")


class UazapiWords:
    name = "uazapi"
    accepted_status = 200
    no_token = _error(401, "missing token")
    bad_token = _error(401, "Invalid token")
    session_lost = _flagged(503, f"{NOT_CONNECTED}: session is not reconnectable")
    too_many = _error(429, "Too many requests")

    def request_of(self, kind: str, body: bytes) -> Request | Refusal:
        content = object_of(body)
        to, text = content.get("number"), content.get("text")
        if not isinstance(to, str) or not to:
            return MISSING
        if kind == "text" and not (isinstance(text, str) and text.strip()):
            return MISSING
        if kind == "media":
            file = content.get("file")
            is_url = isinstance(file, str) and file.startswith(("https://", "http://", "data:"))
            if content.get("type") not in MEDIA or not is_url:
                return BAD_MEDIA
        if not RECIPIENT.match(to):
            return not_on_whatsapp(to)
        if isinstance(text, str):
            content["text"] = PLACEHOLDER.sub("", text)  # by what is stored of the contact: nothing
        return Request(to, content)

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
            131053: BAD_MEDIA,
            131026: not_on_whatsapp(to),
        }
        if code in causes:
            return causes[code]
        return MISSING if status is not None and 400 <= status < 500 else UNCLEAR

    def message_of(
        self, number: str, to: str, message_id: str, attempt_id: str | None, content: dict[str, Any]
    ) -> Message:
        shown = {
            "id": f"{number}:{message_id}",
            "messageid": message_id,
            "chatid": f"{to}@s.whatsapp.net",
            "fromMe": True,
            "isGroup": False,
            "owner": number,
            "status": "Pending",
            "text": content.get("text") or "",
            "track_id": attempt_id or "",
            "track_source": content.get("track_source") or "quizstream",
            "wasSentByApi": True,
        }
        return Message(number, to, message_id, attempt_id, shown)

    def accepted(self, message: Message) -> bytes:
        response = {"status": "success", "message": "Message sent successfully"}
        return msgspec.json.encode({**message.shown, "response": response})

    def error_in(self, body: str) -> str | None:
        content = object_of(body.encode())
        for found in (content.get("error"), content.get("message")):
            if isinstance(found, str):
                return found
        return None


WORDS = UazapiWords()


def attempt_in(body: bytes) -> str | None:
    return text_in(body, "track_id") or None


def find(instances: Instances, token: str, body: bytes) -> Answer:
    """`/message/find`: messages of the token's number by `track_id`."""
    number = instances.number_of(token)
    if number is None:
        refusal = WORDS.bad_token if token else WORDS.no_token
        return Answer(refusal.status, refusal.body)
    messages = instances.found(number, text_in(body, "track_id"))
    return Answer(200, msgspec.json.encode({"messages": messages, "returnedMessages": len(messages)}))


def webhook_in(body: bytes) -> str:
    """The address of `POST /webhook`; empty where it states none."""
    return text_in(body, "url")
