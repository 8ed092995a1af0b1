"""What the simulated provider answers, in the Cloud API's own words."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True)
class Refusal:
    """An error of the API: `status` is the HTTP status, `code` what clients branch on."""

    code: int
    status: int
    message: str
    details: str = ""


BAD_TOKEN = Refusal(190, 401, "Invalid OAuth access token.")
NO_TOKEN = Refusal(0, 401, "AuthException", "No access token was given.")
RATE_LIMIT = Refusal(
    130429, 400, "Rate limit hit", "Message failed to send: throughput of the number reached."
)
PAIR_LIMIT = Refusal(
    131056,
    400,
    "(Business Account, Consumer Account) pair rate limit hit",
    "Too many messages to this recipient.",
)

OUTSIDE_WINDOW = Refusal(
    131047,
    400,
    "Re-engagement message",
    "More than 24 hours have passed since the recipient last wrote to this number: send a template.",
)
PORTFOLIO_LIMIT = Refusal(
    131048,
    400,
    "Spam rate limit hit",
    "The portfolio has written to as many people in 24 hours as it may.",
)

# HTTP statuses of codes that are not answered with 400.
STATUSES = {0: 401, 190: 401, 10: 403, 368: 403, 131005: 403, 131031: 403, 132001: 404} | {
    131000: 500,
    131016: 500,
    131057: 500,
    133000: 500,
    133004: 503,
    2: 503,
}


def refusal_of(code: int, status: int | None = None) -> Refusal:
    """The answer with this code, for a rule."""
    return Refusal(
        code, status or STATUSES.get(code, 400), f"(#{code}) simulated", "by a rule of the simulator"
    )


def error_body(refusal: Refusal, trace: str) -> bytes:
    error: dict[str, Any] = {
        "message": f"(#{refusal.code}) {refusal.message}",
        "type": "OAuthException",
        "code": refusal.code,
        "error_data": {"messaging_product": "whatsapp", "details": refusal.details or refusal.message},
        "fbtrace_id": trace,
    }
    return msgspec.json.encode({"error": error})


def success_body(to: str, wamid: str) -> bytes:
    return msgspec.json.encode(
        {
            "messaging_product": "whatsapp",
            "contacts": [{"input": to, "wa_id": to.removeprefix("+")}],
            "messages": [{"id": wamid, "message_status": "accepted"}],
        }
    )


def wamid_of(number: str, sequence: int) -> str:
    """The id of the number's n-th message: a function of both, so that a restart repeats none."""
    return "wamid." + base64.b64encode(f"{number}:{sequence}".encode()).decode()


def code_in(body: str) -> int | str | None:
    """The code of an error envelope that a rule gives, for the record; None for any other body."""
    try:
        code = msgspec.json.decode(body)["error"]["code"]
    except (msgspec.DecodeError, LookupError, TypeError):
        return None
    return int(code) if isinstance(code, float) else code if isinstance(code, int | str) else None
