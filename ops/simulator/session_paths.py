"""The paths of the simulated providers with sessions: which call a POST is."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from ops.simulated_instances import TWILIO_ACCOUNT, token_of
from ops.simulator.common.instances import Instances
from ops.simulator.common.misbehaviour import Answer
from ops.simulator.evolution import answers as evolution
from ops.simulator.twilio import answers as twilio
from ops.simulator.uazapi import answers as uazapi

UAZAPI_PATH = re.compile(r"/(send/text|send/media|message/find|webhook)\Z")
EVOLUTION_PATH = re.compile(r"/(message/sendText|message/sendMedia|webhook/set)/([0-9]{1,32})\Z")
TWILIO_PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages\.json\Z")
NO_INSTANCE = "of another instance"


class SessionCall(NamedTuple):
    """`number` None: rules do not apply to it."""

    number: str | None
    answer: Callable[[bytes], Awaitable[Answer]]


def session_call(
    path: str, header: Callable[[bytes], str], instances: Mapping[str, Instances]
) -> SessionCall | None:
    """None for a path of none of the providers."""
    if "uazapi" in instances and (found := UAZAPI_PATH.match(path)) is not None:
        return _of_uazapi(instances["uazapi"], found[1], header(b"token"))
    if "evolution" in instances and (found := EVOLUTION_PATH.match(path)) is not None:
        of, key, number = instances["evolution"], header(b"apikey"), found[2]
        token = key if not key or of.number_of(key) == number else NO_INSTANCE
        if found[1] == "webhook/set":
            return SessionCall(None, lambda body: of.register(token, evolution.webhook_in(body)))
        kind, attempt_id = found[1].removeprefix("message/"), header(b"x-request-id") or None
        return SessionCall(number, lambda body: of.send(token, kind, attempt_id, body))
    if "twilio" in instances and (found := TWILIO_PATH.match(path)) is not None:
        return _of_twilio(instances["twilio"], found[1], header(b"authorization"))
    return None


def _of_twilio(of: Instances, account: str, authorization: str) -> SessionCall:
    """The number is in the form, so that rules of a number do not apply before it is read."""
    login = twilio.login_of(authorization)

    async def send(body: bytes) -> Answer:
        token = "" if login is None else NO_INSTANCE
        if login is not None and (account, *login) == (TWILIO_ACCOUNT, TWILIO_ACCOUNT, of.token):
            token = token_of(of.token, twilio.digits_of(twilio.form_of(body).get("From", "")))
        return await of.send(token, "sms", twilio.attempt_in(body), body)

    return SessionCall("", send)


def _of_uazapi(of: Instances, path: str, token: str) -> SessionCall:
    async def find(body: bytes) -> Answer:
        return uazapi.find(of, token, body)

    if path == "message/find":
        return SessionCall(None, find)
    if path == "webhook":
        return SessionCall(None, lambda body: of.register(token, uazapi.webhook_in(body)))
    kind = path.removeprefix("send/")
    number = of.number_of(token) or ""
    return SessionCall(number, lambda body: of.send(token, kind, uazapi.attempt_in(body), body))
