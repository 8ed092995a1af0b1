"""What becomes of each kind of webhook: the table of `docs/webhooks.md`, from the parser's lists. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from sinks.whatsapp.meta_cloud.notices import COUNTED, EFFECTS, STORED
from sinks.whatsapp.meta_cloud.parts import MESSAGE_KINDS, SYSTEM_KINDS, TEXTS

Place = Literal["statuses", "messages", "field"]
Fate = Literal["applied", "stored", "counted"]

_STATUSES = {
    "sent": "merged into the delivery",
    "delivered": "merged into the delivery",
    "read": "merged into the delivery",
    "failed": "merged; the action of its code follows, as after an answer",
    "any other": "kept with the message; it changes no delivery",
}
_OF_ALIASES = ("user_changed_number", "user_changed_user_id")
_WITH_TEXT = frozenset({path[0] for path in TEXTS})
_EFFECTS = {
    "hold_account": "the numbers of the account are held if it may not send",
    "stop_template": "campaigns with the template stop if it may not be used",
    "number_limit": "the limit is shown with the number",
}
_GROUPS = "groups of the business: no campaign writes to a group"
_COUNTED = {
    "automatic_events": "events of advertising",
    "calls": "voice calls; they open no window for messages",
    "flows": "the state of a flow: no campaign has one",
    "group_lifecycle_update": _GROUPS,
    "group_participants_update": _GROUPS,
    "group_settings_update": _GROUPS,
    "group_status_update": _GROUPS,
    "message_echoes": "what the business wrote itself: no decision of a person",
    "messaging_handovers": "which app has the chat: messages count whichever has it",
    "other": "every other field",
    "smb_app_state_sync": "the phone book of the business",
    "smb_message_echoes": "what the business wrote itself: no decision of a person",
    "tracking_events": "events of advertising",
}
_WITH_MESSAGES = {
    "history": "opt-outs and opt-ins in it are in force by their own time; nothing else of it is kept",
    "standby": "messages of a chat that another app has: as `messages[]`",
}


class Row(NamedTuple):
    """`kind` of what a body has at `place`; `fate`: the most that follows from one."""

    place: Place
    kind: str
    fate: Fate
    what: str


def rows() -> tuple[Row, ...]:
    """Every kind that the parser distinguishes."""
    return (*_statuses(), *_messages(), *_fields())


def _statuses() -> Iterator[Row]:
    for status, what in _STATUSES.items():
        yield Row("statuses", status, "stored" if status == "any other" else "applied", what)
    yield Row("statuses", "of a call", "counted", "as `calls`")


def _messages() -> Iterator[Row]:
    for kind in sorted((MESSAGE_KINDS | SYSTEM_KINDS | {"other_message"}) - {"system"}):
        if kind in _OF_ALIASES:
            yield Row("messages", kind, "applied", "its ids lead to one contact from then on")
        elif kind in _WITH_TEXT:
            yield Row("messages", kind, "applied", "stored; an opt-out or opt-in in it is in force")
        else:
            yield Row("messages", kind, "stored", "with the contact")
    yield Row("messages", "system", "stored", "other kinds of it, with the contact")


def _fields() -> Iterator[Row]:
    yield Row("field", "user_preferences", "applied", "`stop` and `resume` are in force")
    yield Row("field", "user_id_update", "applied", "its ids lead to one contact from then on")
    for kind in sorted(STORED):
        effect = EFFECTS.get(kind)
        if kind == "errors":
            yield Row("field", kind, "applied", "errors of no message: the action of each code")
        elif effect is not None:
            yield Row("field", kind, "applied", _EFFECTS[effect])
        else:
            yield Row("field", kind, "stored", "`quizstream number notices`")
    for kind in sorted(COUNTED):
        if kind in _WITH_MESSAGES:
            yield Row("field", kind, "applied", _WITH_MESSAGES[kind])
        else:
            yield Row("field", kind, "counted", _COUNTED[kind])
