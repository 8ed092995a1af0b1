"""An example of each kind of webhook, in the form that the Cloud API gives it; made for these tests.

The kinds and their fields are those of the provider's reference and of the public fixtures of its clients.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sinks.whatsapp.meta_cloud.fates import Place

ACCOUNT = "200100000000001"
NUMBER = "300100000000001"
DISPLAY = "551130000001"
PERSON = "5547989211984"
USER = "BR.600100000000001"
MESSAGE = "wamid.EXAMPLE.OUT"
AT_S = 1_772_000_000

Value = dict[str, Any]


class Example(NamedTuple):
    """`kind` and `place` as in `docs/webhooks.md`."""

    place: Place
    kind: str
    name: str
    field: str
    value: Value

    @property
    def body(self) -> bytes:
        change = {"field": self.field, "value": self.value}
        entry = {"id": ACCOUNT, "time": AT_S, "changes": [change]}
        return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def examples() -> list[Example]:
    return [*_statuses(), *_messages(), *_fields()]


def _of_number(**more: Any) -> Value:
    metadata = {"display_phone_number": DISPLAY, "phone_number_id": NUMBER}
    return {"messaging_product": "whatsapp", "metadata": metadata, **more}


def _statuses() -> list[Example]:
    conversation = {"id": "c0ffee", "expiration_timestamp": str(AT_S), "origin": {"type": "marketing"}}
    priced = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"}
    error = {
        "code": 131049,
        "title": "Not delivered to keep the ecosystem healthy",
        "message": "the same",
        "error_data": {"details": "more words"},
        "href": "https://developers.example/error-codes/",
    }
    statuses: list[tuple[str, str, Value]] = [
        ("sent", "sent", {"conversation": conversation, "pricing": priced}),
        ("delivered", "delivered", {"pricing": priced, "recipient_user_id": USER}),
        ("read", "read", {}),
        ("failed", "failed", {"errors": [error]}),
        ("any other", "deleted", {}),
        ("any other", "warning", {"errors": [{**error, "code": 131000}]}),
        ("any other", "played", {"recipient_type": "group", "recipient_participant_id": "1"}),
    ]
    found = []
    for kind, status, more in statuses:
        part = {"id": MESSAGE, "status": status, "timestamp": str(AT_S), "recipient_id": PERSON, **more}
        found.append(Example("statuses", kind, status, "messages", _of_number(statuses=[part])))
    call = {"id": "wacid.1", "type": "call", "status": "RINGING", "timestamp": str(AT_S), "recipient_id": "1"}
    for field in ("calls", "messages"):
        found.append(
            Example("statuses", "of a call", f"of a call in {field}", field, _of_number(statuses=[call]))
        )
    return found


def _messages() -> list[Example]:
    media = {"id": "9001", "mime_type": "application/octet-stream", "sha256": "aGFzaA=="}
    reply = {"id": "opt-out", "title": "Parar promoções"}
    permission = {"response": "reject", "response_source": "user_action"}
    changed = {"body": "changed", "type": "user_changed_number", "wa_id": "5547977770001"}
    new_id = {"user_id": "BR.600100000000002", "previous_user_id": USER, "type": "user_changed_user_id"}
    told: list[tuple[str, str, Value]] = [
        ("text", "text", {"text": {"body": "Pare, por favor"}}),
        ("text", "text in a group", {"text": {"body": "sair"}, "group_id": "1"}),
        ("text", "text after an advertisement", {"text": {"body": "sair"}, "referral": {"source_id": "1"}}),
        ("text", "text from a user id", {"from": None, "from_user_id": USER, "text": {"body": "sair"}}),
        ("text", "reply", {"text": {"body": "cancelar"}, "context": {"id": MESSAGE, "from": DISPLAY}}),
        ("image", "image", {"image": {**media, "caption": "stop"}}),
        ("video", "video", {"video": {**media, "caption": "stop"}}),
        ("document", "document", {"document": {**media, "filename": "a.pdf", "caption": "stop"}}),
        ("audio", "voice", {"audio": {**media, "voice": True}}),
        ("sticker", "sticker", {"sticker": {**media, "animated": False}}),
        ("reaction", "reaction", {"reaction": {"message_id": MESSAGE, "emoji": "\U0001f44d"}}),
        ("location", "location", {"location": {"latitude": -26.9, "longitude": -49.0, "name": "a place"}}),
        (
            "contacts",
            "contacts",
            {"contacts": [{"name": {"formatted_name": "A"}, "phones": [{"phone": "1"}]}]},
        ),
        ("button", "button of a template", {"button": {"text": "Stop promotions", "payload": "x"}}),
        ("interactive", "button reply", _reply("button_reply", reply)),
        ("interactive", "list reply", _reply("list_reply", {**reply, "description": "d"})),
        ("nfm_reply", "flow", _reply("nfm_reply", {"name": "flow", "body": "Sent", "response_json": "[1]"})),
        ("call_permission_reply", "call permission", _reply("call_permission_reply", permission)),
        ("order", "order", {"order": {"catalog_id": "1", "product_items": [{"quantity": 1}]}}),
        ("unsupported", "unsupported", {"errors": [{"code": 131051, "title": "not supported"}]}),
        ("request_welcome", "chat opened", {}),
        ("edit", "edit", {"edit": {"original_message_id": "wamid.1", "message": {"text": {"body": "stop"}}}}),
        ("revoke", "revoke", {"revoke": {"original_message_id": "wamid.1"}}),
        ("user_changed_number", "number changed", {"type": "system", "system": changed}),
        ("user_changed_user_id", "user id changed", {"type": "system", "system": new_id}),
        (
            "customer_identity_changed",
            "identity changed",
            {"type": "system", "system": {"type": "customer_identity_changed"}, "identity": {"hash": "1"}},
        ),
        ("system", "another system message", {"type": "system", "system": {"type": "new", "body": "b"}}),
        ("other_message", "a kind of tomorrow", {"type": "hologram", "hologram": {"depth": 3}}),
        ("other_message", "without a type", {"type": None}),
    ]
    found = []
    for kind, name, more in told:
        told_type = "interactive" if "interactive" in more else kind
        part = {"from": PERSON, "id": f"wamid.{name}", "timestamp": str(AT_S), "type": told_type, **more}
        both = {"wa_id": PERSON, "user_id": USER} if name == "text from a user id" else {"wa_id": PERSON}
        contacts = [{"profile": {"name": "Somebody"}, **both}]
        found.append(
            Example("messages", kind, name, "messages", _of_number(contacts=contacts, messages=[part]))
        )
    return found


def _reply(kind: str, reply: Value) -> Value:
    return {"interactive": {"type": kind, kind: reply}}


def _fields() -> list[Example]:
    template = {
        "message_template_id": 7,
        "message_template_name": "ola",
        "message_template_language": "pt_BR",
    }
    stop = {
        "wa_id": PERSON,
        "user_id": USER,
        "category": "marketing_messages",
        "value": "stop",
        "timestamp": AT_S,
    }
    update = {"wa_id": PERSON, "user_id": {"previous": USER, "current": "BR.3"}, "timestamp": AT_S}
    told: list[tuple[str, str, Value]] = [
        ("user_preferences", "stop", _of_number(user_preferences=[stop])),
        ("user_id_update", "user id", _of_number(user_id_update=[update])),
        ("account_alerts", "alert", {"entity_type": "WABA", "alert_info": {"alert_severity": "WARNING"}}),
        ("account_review_update", "rejected", {"decision": "REJECTED"}),
        ("account_settings_update", "settings", {"type": "phone_number_settings"}),
        (
            "account_update",
            "violation",
            {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "X"}},
        ),
        ("account_update", "ban", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}),
        (
            "account_update",
            "restriction",
            {
                "event": "ACCOUNT_RESTRICTION",
                "restriction_info": [{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING"}],
            },
        ),
        ("business_capability_update", "capability", {"max_daily_conversations_per_business": 2000}),
        ("business_status_update", "status", {"event": "X", "business_id": 1}),
        ("message_template_components_update", "components", {**template, "message_template_element": "b"}),
        ("message_template_quality_update", "quality", {**template, "new_quality_score": "RED"}),
        ("message_template_status_update", "paused", {**template, "event": "PAUSED", "reason": None}),
        ("message_template_status_update", "disabled", {**template, "event": "DISABLED"}),
        ("message_template_status_update", "rejected", {**template, "event": "REJECTED"}),
        ("template_category_update", "category", {**template, "new_category": "MARKETING"}),
        ("template_correct_category_detection", "category", {**template, "correct_category": "MARKETING"}),
        ("partner_solutions", "solution", {"event": "SOLUTION_CREATED", "solution_id": "1"}),
        ("payment_configuration_update", "payment", {"configuration_name": "c", "status": "Active"}),
        ("phone_number_name_update", "name", {"display_phone_number": DISPLAY, "decision": "APPROVED"}),
        (
            "phone_number_quality_update",
            "downgrade",
            {"display_phone_number": DISPLAY, "event": "DOWNGRADE", "current_limit": "TIER_1K"},
        ),
        ("security", "pin", {"display_phone_number": DISPLAY, "event": "PIN_CHANGED"}),
        ("automatic_events", "event", _of_number(automatic_events=[{"id": "1"}])),
        ("calls", "connect", _of_number(calls=[{"id": "wacid.1", "event": "connect"}])),
        ("calls", "terminate", _of_number(calls=[{"id": "wacid.1", "event": "terminate"}])),
        ("flows", "flow", {"event": "FLOW_STATUS_CHANGE", "flow_id": "1"}),
        ("group_lifecycle_update", "group", _of_number(groups=[{"type": "group_create"}])),
        ("group_participants_update", "group", _of_number(groups=[{"type": "group_participants_add"}])),
        ("group_settings_update", "group", _of_number(groups=[{"type": "group_settings_update"}])),
        ("group_status_update", "group", _of_number(groups=[{"type": "group_suspend"}])),
        ("history", "history", _of_number(history=[{"threads": [{"id": PERSON, "messages": []}]}])),
        ("message_echoes", "echo", _of_number(message_echoes=[{"id": "wamid.2", "type": "text"}])),
        ("messaging_handovers", "handover", _of_number(messaging_handovers={"type": "x"})),
        ("smb_app_state_sync", "contacts", _of_number(state_sync=[{"type": "contact", "action": "add"}])),
        ("smb_message_echoes", "echo", _of_number(message_echoes=[{"id": "wamid.3", "type": "text"}])),
        ("standby", "standby", _of_number(messages=[])),
        ("tracking_events", "event", {"events": [{"event_name": "1"}]}),
    ]
    found = [Example("field", kind, f"{kind}: {name}", kind, value) for kind, name, value in told]
    error = {"code": 131031, "title": "Account has been locked"}
    found.append(Example("field", "errors", "errors of no message", "messages", _of_number(errors=[error])))
    found.append(Example("field", "other", "a field of tomorrow", "holograms", {"event": "X"}))
    return found
