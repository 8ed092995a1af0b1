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
    field: str | None
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
        (
            "any other",
            "played",
            {
                "recipient_type": "group",
                "recipient_participant_id": "1",
                "recipient_participant_user_id": "BR.7",
                "recipient_participant_parent_user_id": "BR.ENT.7",
            },
        ),
        ("any other", "in_orbit", {"type": "message", "conversation": None, "pricing": None, "errors": None}),
        ("delivered", "delivered", {"recipient_parent_user_id": "BR.ENT.600100000000001"}),
        ("delivered", "delivered", {"parent_recipient_user_id": "BR.ENT.600100000000001"}),
        ("failed", "failed", {"type": "message", "errors": [{**error, "code": "131049"}]}),
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
        ("voice", "voice of an older version", {"voice": {**media, "file": "a path"}}),
        ("audio", "forwarded voice", {"audio": media, "context": {"forwarded": True}}),
        ("text", "forwarded often", {"text": {"body": "sair"}, "context": {"frequently_forwarded": True}}),
        ("reaction", "reaction taken back", {"reaction": {"message_id": MESSAGE}}),
        (
            "image",
            "image with its address",
            {"image": {**media, "url": "https://media.example/1", "caption": "stop"}},
        ),
        (
            "text",
            "text from an id of the parent business",
            {
                "from": None,
                "from_parent_user_id": "BR.ENT.600100000000001",
                "text": {"body": "sair"},
                "context": {"id": MESSAGE},
            },
        ),
        (
            "text",
            "text from a user id in from",
            {"from": USER, "from_user_id": USER, "text": {"body": "sair"}},
        ),
        (
            "button",
            "button of an advertisement",
            {"button": {"text": "Stop"}, "referral": {"source_id": "1"}},
        ),
        (
            "text",
            "text about a product",
            {"text": {"body": "stop"}, "context": {"referred_product": {"id": "1"}}},
        ),
        (
            "edit",
            "edited caption",
            {"edit": {"message": {"type": "image", "image": {**media, "caption": "stop"}}}},
        ),
        ("location", "location without a type", {"type": None, "location": {"latitude": 1, "longitude": 2}}),
        ("unsupported", "poll", {"unsupported": {"type": "poll"}, "errors": [{"code": 131051}]}),
        ("unsupported", "unsupported with a text", {"text": {"body": "hello"}, "errors": None}),
        (
            "interactive",
            "interactive without its reply",
            {"interactive": {"type": "tomorrow", "tomorrow": {}}},
        ),
        ("other_message", "unknown", {"type": "unknown", "errors": [{"code": 131051, "details": "words"}]}),
        ("text", "text of nulls", {"text": None, "context": None, "referral": None}),
        ("other_message", "a kind of tomorrow", {"type": "hologram", "hologram": {"depth": 3}}),
        ("other_message", "without a type", {"type": None}),
    ]
    found = []
    for kind, name, more in told:
        told_type = "interactive" if "interactive" in more else kind
        part = {"from": PERSON, "id": f"wamid.{name}", "timestamp": str(AT_S), "type": told_type, **more}
        both = {"wa_id": PERSON, "user_id": USER} if "from a user id" in name else {"wa_id": PERSON}
        contacts = [{"profile": {"name": "Somebody", "username": "somebody"}, **both}]
        found.append(
            Example("messages", kind, name, "messages", _of_number(contacts=contacts, messages=[part]))
        )
    return found


def _said(text: str, message_id: str) -> Value:
    return {"from": PERSON, "id": message_id, "timestamp": str(AT_S), "type": "text", "text": {"body": text}}


def _thread(text: str) -> Value:
    """A chat from before the number was connected: what we wrote, and what the person answered."""
    ours = {**_said("Responda SAIR para sair", f"wamid.past.{text}.1"), "from": DISPLAY, "to": PERSON}
    media = {
        "from": DISPLAY,
        "id": f"wamid.past.{text}.2",
        "timestamp": str(AT_S),
        "type": "media_placeholder",
    }
    theirs = _said(text, f"wamid.past.{text}.3")
    context = {"history_context": {"status": "READ"}}
    return {"id": PERSON, "messages": [part | context for part in (ours, media, theirs)]}


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
        ("account_update", "deleted", {"event": "ACCOUNT_DELETED"}),
        ("account_update", "offboarded", {"event": "ACCOUNT_OFFBOARDED"}),
        ("account_update", "reconnected", {"event": "ACCOUNT_RECONNECTED"}),
        ("account_update", "verified", {"event": "VERIFIED_ACCOUNT", "phone_number": DISPLAY}),
        ("account_update", "partner added", {"event": "PARTNER_ADDED", "waba_info": {"waba_id": ACCOUNT}}),
        (
            "account_update",
            "partner removed",
            {
                "event": "PARTNER_REMOVED",
                "waba_info": {"waba_id": ACCOUNT, "owner_business_id": "2"},
                "disconnection_info": {"reason": "ACCOUNT_DISCONNECTED", "initiated_by": "USER"},
            },
        ),
        (
            "account_update",
            "partner's app installed",
            {"event": "PARTNER_APP_INSTALLED", "waba_info": {"waba_id": ACCOUNT, "partner_app_id": "3"}},
        ),
        (
            "account_update",
            "certification",
            {
                "event": "PARTNER_CLIENT_CERTIFICATION_STATUS_UPDATE",
                "partner_client_certification_info": {"status": "FAILED", "rejection_reasons": ["ADDRESS"]},
            },
        ),
        (
            "account_update",
            "prices by volume",
            {
                "event": "VOLUME_BASED_PRICING_TIER_UPDATE",
                "volume_tier_info": {"tier": "1:2", "region": "BR"},
            },
        ),
        (
            "account_update",
            "prices of authentication",
            {
                "event": "AUTH_INTL_PRICE_ELIGIBILITY_UPDATE",
                "auth_international_rate_eligibility": {
                    "start_time": 1,
                    "exception_countries": [{"country_code": "ID"}],
                },
            },
        ),
        ("account_update", "country", {"event": "BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE", "country": "BR"}),
        (
            "account_update",
            "terms signed",
            {"event": "MM_LITE_TERMS_SIGNED", "waba_info": {"waba_id": ACCOUNT}},
        ),
        (
            "account_update",
            "ad account",
            {"event": "AD_ACCOUNT_LINKED", "waba_info": {"ad_account_linked": "4"}},
        ),
        ("business_capability_update", "limit of a number", {"max_daily_conversation_per_phone": 1000}),
        ("business_capability_update", "capability", {"max_daily_conversations_per_business": 2000}),
        ("business_status_update", "status", {"event": "X", "business_id": 1}),
        ("message_template_components_update", "components", {**template, "message_template_element": "b"}),
        ("message_template_quality_update", "quality", {**template, "new_quality_score": "RED"}),
        (
            "message_template_components_update",
            "all components",
            {
                **template,
                "message_template_title": "t",
                "message_template_footer": "f",
                "message_template_buttons": [{"message_template_button_type": "URL"}],
            },
        ),
        (
            "message_template_status_update",
            "rejected with advice",
            {**template, "event": "REJECTED", "reason": "X", "rejection_info": {"recommendation": "words"}},
        ),
        (
            "message_template_status_update",
            "flagged",
            {**template, "event": "FLAGGED", "reason": None, "disable_info": {"disable_date": "DATE"}},
        ),
        ("message_template_status_update", "approved", {**template, "event": "APPROVED", "reason": "NONE"}),
        ("message_template_status_update", "without an event", {**template, "new_quality_score": "GREEN"}),
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
        (
            "phone_number_quality_update",
            "throughput",
            {
                "display_phone_number": DISPLAY,
                "event": "THROUGHPUT_UPGRADE",
                "current_limit": "TIER_UNLIMITED",
            },
        ),
        (
            "phone_number_name_update",
            "rejected",
            {"display_phone_number": DISPLAY, "decision": "REJECTED", "rejection_reason": "NAME_INVALID"},
        ),
        (
            "security",
            "pin reset",
            {"display_phone_number": DISPLAY, "event": "PIN_RESET_REQUEST", "requester": "5"},
        ),
        (
            "template_category_update",
            "expected",
            {**template, "correct_category": "MARKETING", "new_category": "UTILITY"},
        ),
        ("security", "pin", {"display_phone_number": DISPLAY, "event": "PIN_CHANGED"}),
        ("automatic_events", "event", _of_number(automatic_events=[{"id": "1"}])),
        ("calls", "connect", _of_number(calls=[{"id": "wacid.1", "event": "connect"}])),
        (
            "calls",
            "failed",
            _of_number(
                calls=[{"id": "wacid.1", "event": "terminate", "status": "FAILED"}], errors=[{"code": 138005}]
            ),
        ),
        ("calls", "terminate", _of_number(calls=[{"id": "wacid.1", "event": "terminate"}])),
        ("flows", "flow", {"event": "FLOW_STATUS_CHANGE", "flow_id": "1"}),
        ("group_lifecycle_update", "group", _of_number(groups=[{"type": "group_create"}])),
        ("group_participants_update", "group", _of_number(groups=[{"type": "group_participants_add"}])),
        ("group_settings_update", "group", _of_number(groups=[{"type": "group_settings_update"}])),
        ("group_status_update", "group", _of_number(groups=[{"type": "group_suspend"}])),
        (
            "history",
            "opt-out",
            _of_number(history=[{"metadata": {"phase": 0}, "threads": [_thread("sair")]}]),
        ),
        (
            "history",
            "thanks",
            _of_number(history=[{"metadata": {"phase": 2}, "threads": [_thread("obrigado")]}]),
        ),
        (
            "history",
            "files of media",
            _of_number(
                messages=[
                    {
                        "from": PERSON,
                        "id": "wamid.past.4",
                        "timestamp": str(AT_S),
                        "type": "image",
                        "image": {"id": "9001", "caption": "stop"},
                    }
                ]
            ),
        ),
        ("history", "not shared", _of_number(history=[{"errors": [{"code": 2593109, "title": "off"}]}])),
        ("message_echoes", "echo", _of_number(message_echoes=[{"id": "wamid.2", "type": "text"}])),
        ("messaging_handovers", "handover", _of_number(messaging_handovers={"type": "x"})),
        ("smb_app_state_sync", "contacts", _of_number(state_sync=[{"type": "contact", "action": "add"}])),
        ("smb_message_echoes", "echo", _of_number(message_echoes=[{"id": "wamid.3", "type": "text"}])),
        (
            "smb_message_echoes",
            "edited",
            _of_number(
                message_echoes=[
                    {"to": PERSON, "type": "edit", "edit": {"message": {"text": {"body": "sair"}}}}
                ]
            ),
        ),
        ("smb_message_echoes", "deleted", _of_number(message_echoes=[{"type": "revoke", "revoke": {}}])),
        (
            "smb_app_state_sync",
            "removed",
            _of_number(
                state_sync=[{"type": "contact", "action": "remove", "contact": {"phone_number": PERSON}}]
            ),
        ),
        ("standby", "nothing", _of_number(messages=[])),
        ("standby", "opt-out", _of_number(messages=[_said("sair", "wamid.standby")])),
        ("tracking_events", "event", {"events": [{"event_name": "1"}]}),
    ]
    found = [Example("field", kind, f"{kind}: {name}", kind, value) for kind, name, value in told]
    error = {"code": 131031, "title": "Account has been locked"}
    found.append(Example("field", "errors", "errors of no message", "messages", _of_number(errors=[error])))
    found.append(Example("field", "other", "a change without a field", None, {"event": "X", "waba_info": {}}))
    found.append(Example("field", "other", "a field of tomorrow", "holograms", {"event": "X"}))
    return found
