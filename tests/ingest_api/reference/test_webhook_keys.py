from __future__ import annotations

from ingest_api.reference.webhook_keys import WebhookKeys
from schemas.records import WebhookKey


def keys_at(now_s: float, *records: WebhookKey) -> WebhookKeys:
    keys = WebhookKeys(now_s=lambda: now_s)
    for record in records:
        keys.on_event(record.number_id.encode(), record)
    return keys


def test_a_key_is_of_its_number_and_provider() -> None:
    keys = keys_at(0, WebhookKey("5511", "uazapi", 1, "a"))
    assert keys.hashes("uazapi", "5511") == ("a",)
    assert keys.hashes("evolution", "5511") == ()
    assert keys.hashes("uazapi", "5512") == ()


def test_the_key_before_counts_until_its_end() -> None:
    rotated = WebhookKey("5511", "uazapi", 2, "b", "a", 60_000)
    assert keys_at(59.9, rotated).hashes("uazapi", "5511") == ("b", "a")
    assert keys_at(60, rotated).hashes("uazapi", "5511") == ("b",)


def test_a_late_record_brings_back_no_former_key() -> None:
    keys = keys_at(0, WebhookKey("5511", "uazapi", 2, "b"), WebhookKey("5511", "uazapi", 1, "a"))
    assert keys.hashes("uazapi", "5511") == ("b",)
    keys.on_event(b"5511", None)
    assert keys.hashes("uazapi", "5511") == ()
