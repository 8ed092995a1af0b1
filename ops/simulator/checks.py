"""Checks a request against the rules of the Cloud API, and rejects it with the API's codes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ops.simulator.answers import Refusal
from ops.simulator.catalogue import Template
from ops.simulator.common import numbers

RECIPIENT = re.compile(r"\+?[1-9][0-9]{7,14}\Z")
FORBIDDEN_IN_PARAMETER = re.compile(r"[\n\t]| {5,}")


class Request(msgspec.Struct, frozen=True):
    to: str
    kind: str
    attempt_id: str | None
    content: dict[str, Any]

    @property
    def free(self) -> bool:
        """Not a template: only within a day after the person's last message."""
        return self.kind != "template"


def check(body: bytes, templates: Mapping[tuple[str, str], Template]) -> Request | Refusal:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _invalid("The body is not JSON.")
    if not isinstance(content, dict) or content.get("messaging_product") != "whatsapp":
        return _invalid("messaging_product must be whatsapp.")
    to, kind = content.get("to"), content.get("type", "text")
    if not isinstance(to, str) or not to:
        return _missing("to")
    if not RECIPIENT.match(to):
        return _not_valid("to is no phone number.")
    callback = content.get("biz_opaque_callback_data")
    if callback is not None and not (
        isinstance(callback, str) and len(callback) <= numbers.CALLBACK_CHARS_MAX
    ):
        return _invalid(f"biz_opaque_callback_data has more than {numbers.CALLBACK_CHARS_MAX} characters.")
    if kind not in ("text", "template", "image"):
        return _invalid(f"type must be text, template or image: {kind!r}")
    part = content.get(kind)
    if not isinstance(part, dict):
        return _missing(kind)
    match kind:
        case "text":
            wrong = _check_text(part)
        case "template":
            wrong = _check_template(part, templates)
        case _:
            wrong = _check_image(part)
    return wrong or Request(to.removeprefix("+"), kind, callback, content)


def _check_text(part: dict[str, Any]) -> Refusal | None:
    text = part.get("body")
    if not isinstance(text, str) or not text.strip():
        return _missing("text.body")
    if len(text) > numbers.TEXT_CHARS_MAX:
        return _invalid(f"text.body has more than {numbers.TEXT_CHARS_MAX} characters.")
    return None


def _check_image(part: dict[str, Any]) -> Refusal | None:
    link = part.get("link")
    if not isinstance(link, str) and not isinstance(part.get("id"), str):
        return _missing("image.link or image.id")
    if isinstance(link, str) and not link.startswith(("https://", "http://")):
        return _not_valid("image.link is no URL.")
    caption = part.get("caption", "-")
    if not isinstance(caption, str) or not caption.strip() or len(caption) > numbers.CAPTION_CHARS_MAX:
        return _not_valid(f"image.caption is empty or has more than {numbers.CAPTION_CHARS_MAX} characters.")
    return None


def _check_template(part: dict[str, Any], templates: Mapping[tuple[str, str], Template]) -> Refusal | None:
    name, language = part.get("name"), part.get("language")
    code = language.get("code") if isinstance(language, dict) else None
    if not isinstance(name, str) or not name:
        return _missing("template.name")
    if not isinstance(code, str) or not code:
        return _missing("template.language.code")
    parameters = _parameters(part)
    if isinstance(parameters, Refusal):
        return parameters
    known = templates.get((name, code))
    if known is None or not known.approved:
        return Refusal(
            132001,
            404,
            "Template name does not exist in the translation",
            f"template name ({name}) does not exist in {code}, or it is not approved",
        )
    if known.parameters != len(parameters):
        return Refusal(
            132000,
            400,
            "Number of parameters does not match the expected number of params",
            f"body: number of localizable_params ({len(parameters)}) does not match the expected number of "
            f"params ({known.parameters})",
        )
    return None


def _parameters(part: dict[str, Any]) -> list[str] | Refusal:
    found: list[str] = []
    for component in part.get("components") or []:
        if not isinstance(component, dict) or component.get("type") != "body":
            return _not_valid("only body components are known here.")
        for parameter in component.get("parameters") or []:
            text = parameter.get("text") if isinstance(parameter, dict) else None
            if not isinstance(text, str) or not text.strip():
                return _missing("Parameter of type text is missing text value")
            if FORBIDDEN_IN_PARAMETER.search(text) or len(text) > numbers.PARAMETER_CHARS_MAX:
                return Refusal(
                    132012,
                    400,
                    "Parameter format does not match format in the created template",
                    "a parameter has a line break, a tab, more than four spaces in a row, or is too long",
                )
            found.append(text)
    return found


def _invalid(details: str) -> Refusal:
    return Refusal(100, 400, "Invalid parameter", details)


def _missing(what: str) -> Refusal:
    return Refusal(131008, 400, "Required parameter is missing", what)


def _not_valid(details: str) -> Refusal:
    return Refusal(131009, 400, "Parameter value is not valid", details)
