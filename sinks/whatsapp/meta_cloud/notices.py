"""What the Cloud API reports about accounts, numbers and templates, and what has to follow. Pure.

Kinds and events are of closed lists, details are words of the provider: no free text of a body is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sinks.outcomes import plain
from sinks.webhook import Effect, Notice

DETAIL_CHARS_MAX = 200
WORDS_MAX = 8  # of a list
TEMPLATE_CHARS_MAX = 512

STORED = frozenset(
    {
        *{"account_alerts", "account_review_update", "account_settings_update", "account_update"},
        *{"business_capability_update", "business_status_update"},
        *{"message_template_components_update", "message_template_quality_update"},
        *{"message_template_status_update", "template_category_update"},
        *{"template_correct_category_detection"},
        *{"phone_number_name_update", "phone_number_quality_update", "security"},
        *{"partner_solutions", "payment_configuration_update", "errors"},
    }
)
COUNTED = frozenset(
    {
        *{"automatic_events", "calls", "flows", "history", "message_echoes", "messaging_handovers"},
        *{"group_lifecycle_update", "group_participants_update", "group_settings_update"},
        *{"group_status_update", "smb_app_state_sync", "smb_message_echoes", "standby", "tracking_events"},
        "other",
    }
)
EFFECTS: Mapping[str, Effect] = {
    "account_update": "hold_account",
    "account_review_update": "hold_account",
    "message_template_status_update": "stop_template",
    "phone_number_quality_update": "number_limit",
    "business_capability_update": "number_limit",
}
EVENTS = frozenset(
    {
        *{"account_deleted", "account_offboarded", "account_reconnected", "account_restriction"},
        *{"account_violation", "disabled_update", "partner_added", "partner_removed", "verified_account"},
        *{"approved", "archived", "deferred", "deleted", "disabled", "flagged", "in_appeal", "locked"},
        *{"paused", "pending", "pending_deletion", "reinstated", "rejected", "unarchived", "unflagged"},
        *{"downgrade", "onboarding", "throughput_upgrade", "upgrade"},
        *{"pin_changed", "pin_request_success", "pin_reset_request"},
        *{"green", "yellow", "red", "unknown"},
    }
)
EVENT_FIELDS = ("event", "decision", "new_quality_score")
ACCOUNT_FORBIDDEN = frozenset(
    {"account_deleted", "account_offboarded", "account_violation", "partner_removed"}
)
SENDING_RESTRICTED = frozenset(
    {"RESTRICTED_BIZ_INITIATED_MESSAGING", "RESTRICTED_CUSTOMER_INITIATED_MESSAGING"}
)
ACCOUNT_ALLOWED = frozenset({"account_reconnected", "approved", "disabled_update", "partner_added"})
TEMPLATE_USABLE = frozenset({"approved", "reinstated"})
TEMPLATE_UNUSABLE = frozenset({"deleted", "disabled", "paused", "rejected"})
LIMITS = ("max_daily_conversations_per_business", "max_daily_conversation_per_phone", "current_limit")
DETAILS = (
    ("ban_info", "waba_ban_state"),
    ("violation_info", "violation_type"),
    ("disconnection_info", "reason"),
    ("alert_info", "alert_severity"),
    ("alert_info", "alert_type"),
    ("reason",),
    ("rejection_reason",),
    ("previous_quality_score",),
    ("new_quality_score",),
    ("previous_category",),
    ("new_category",),
    ("correct_category",),
    ("old_limit",),
    *((name,) for name in LIMITS),
)

_WORD = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
_ACCOUNT = re.compile(r"[A-Za-z0-9]{1,64}")


def kind_of(field: str) -> str:
    return field if field in STORED or field in COUNTED else "other"


def notice_of(field: str, value: Mapping[str, Any], account_id: str, at_ms: int) -> Notice:
    """Of a change whose field is not one of messages. Raises nothing."""
    kind = kind_of(field)
    told = next((word for name in EVENT_FIELDS if (word := _word(value.get(name)))), "").lower()
    event = told if told in EVENTS else ""
    words = dict.fromkeys(_words(value))
    return Notice(
        kind,
        event,
        at_ms=at_ms,
        account_id=account_of(value, account_id),
        phone=digits(value.get("display_phone_number") or value.get("phone_number")),
        template=plain(str(value.get("message_template_name") or ""))[:TEMPLATE_CHARS_MAX],
        language=_word(value.get("message_template_language")).replace("-", "_"),
        detail=" ".join(words)[:DETAIL_CHARS_MAX],
        effect=_effect(kind, event, value),
        stored=kind in STORED,
    )


def bounded(notices: Sequence[Notice], stored_max: int) -> tuple[tuple[Notice, ...], int]:
    """The notices of one body, at most `stored_max` of those that are stored, and how many are left out.

    What something follows from comes first; of equal ones that are stored there is one.
    """
    stored = list(dict.fromkeys(notice for notice in notices if notice.stored))
    stored.sort(key=lambda notice: notice.effect == "none" and not notice.codes)
    counted = [notice for notice in notices if not notice.stored]
    return (*stored[:stored_max], *counted), max(0, len(stored) - stored_max)


def account_of(value: Mapping[str, Any], entry_id: str) -> str:
    """That of the value where it is about another than the one that subscribed: a partner's customer."""
    told = value.get("waba_info")
    other = told.get("waba_id") if isinstance(told, dict) else None
    found = other if isinstance(other, str) and other else entry_id
    return found if _ACCOUNT.fullmatch(found) else ""


def digits(found: object) -> str:
    kept = "".join(char for char in found[:32] if char.isdecimal()) if isinstance(found, str) else ""
    return kept if kept.isascii() else ""


def _effect(kind: str, event: str, value: Mapping[str, Any]) -> Effect:
    effect = EFFECTS.get(kind, "none")
    if effect == "hold_account":
        forbidden = event == "rejected" if kind == "account_review_update" else _is_forbidden(event, value)
        return effect if forbidden else "allow" if event in ACCOUNT_ALLOWED else "none"
    if effect == "stop_template":
        return effect if event in TEMPLATE_UNUSABLE else "allow" if event in TEMPLATE_USABLE else "none"
    return effect


def _is_forbidden(event: str, value: Mapping[str, Any]) -> bool:
    if event == "account_restriction":
        told = value.get("restriction_info")
        types = {_word(one.get("restriction_type")) for one in _objects(told)}
        return not types or bool(types & SENDING_RESTRICTED)
    if event == "disabled_update":
        ban = value.get("ban_info")
        return "REINSTATE" not in set(_listed(ban.get("waba_ban_state") if isinstance(ban, dict) else None))
    return event in ACCOUNT_FORBIDDEN


def _words(value: Mapping[str, Any]) -> Iterable[str]:
    for path in DETAILS:
        found: object = value
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        yield from _listed(found)
    yield from filter(
        None, (_word(one.get("restriction_type")) for one in _objects(value.get("restriction_info")))
    )


def _listed(found: object) -> list[str]:
    some = found[:WORDS_MAX] if isinstance(found, list) else [found]
    return [word for one in some if (word := _word(one))]


def _objects(found: object) -> list[dict[str, Any]]:
    return [one for one in found[:WORDS_MAX] if isinstance(one, dict)] if isinstance(found, list) else []


def _word(found: object) -> str:
    text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
    return text if _WORD.fullmatch(text) else ""
