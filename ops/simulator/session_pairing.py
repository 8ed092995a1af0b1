"""Pairing calls of the simulated providers with sessions: a code for a lost session, new every 15 s.

A person scans it by `POST /simulator/sessions` with `connected`.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ops.simulator.common.instances import Instances
from ops.simulator.common.misbehaviour import Answer

UAZAPI_PATHS = {("POST", "/instance/connect"), ("GET", "/instance/status")}
EVOLUTION_PATH = re.compile(r"/instance/(connect|connectionState)/([0-9]{1,32})\Z")


def pairing_call(
    method: str, path: str, header: Callable[[bytes], str], instances: Mapping[str, Instances]
) -> Answer | None:
    """The answer; None for a call that is none of these."""
    if "uazapi" in instances and (method, path) in UAZAPI_PATHS:
        return _of_uazapi(instances["uazapi"], header(b"token"), begins=method == "POST")
    found = EVOLUTION_PATH.match(path)
    if "evolution" in instances and method == "GET" and found is not None:
        return _of_evolution(
            instances["evolution"], header(b"apikey"), found[2], begins=found[1] == "connect"
        )
    return None


def _of_uazapi(of: Instances, token: str, *, begins: bool) -> Answer:
    number = of.number_of(token)
    if number is None:
        return of.without_instance(token)
    code = of.pairing_code(number, begins=begins)
    state = "connected" if of.is_connected(number) else "disconnected" if code is None else "connecting"
    instance = {"name": number, "owner": number, "status": state, "qrcode": _picture(code), "token": token}
    connected = {"connected": state == "connected", "loggedIn": state == "connected"}
    return _json({"instance": instance, **(connected if begins else {"status": connected})})


def _of_evolution(of: Instances, key: str, number: str, *, begins: bool) -> Answer:
    if of.number_of(key) != number:
        return of.without_instance(key)
    code = of.pairing_code(number, begins=begins)
    state = "open" if of.is_connected(number) else "close" if code is None else "connecting"
    if begins and code is not None:
        return _json({"pairingCode": None, "code": code, "base64": _picture(code), "count": 1})
    return _json({"instance": {"instanceName": number, "state": state}})


def _json(content: dict[str, Any]) -> Answer:
    return Answer(200, msgspec.json.encode(content))


@lru_cache(maxsize=16)
def _picture(code: str | None) -> str:
    if code is None:
        return ""
    import segno  # costs time, and few runs pair

    out = io.BytesIO()
    segno.make_qr(code).save(out, kind="png", scale=4, border=4)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
