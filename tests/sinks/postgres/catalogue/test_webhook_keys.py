"""Keys of session numbers: made, rotated, published and restored; only hashes are stored."""

from __future__ import annotations

import hashlib

import pytest

from schemas.records import WebhookKey
from sinks.postgres.audit_log import entries
from sinks.postgres.catalogue.numbers import NumberDraft, NumberRejected, UnknownNumber
from sinks.postgres.catalogue.operations import add_number, add_tenant
from sinks.postgres.catalogue.webhook_keys import read_key, rotate_webhook_key, save_webhook_key
from sinks.postgres.restore.catalogue import restore_catalogue
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner

NUMBER = NumberDraft("558185464605", "acme", "uazapi", "https://acme.uazapi.com", "ACME_TOKEN")


def rotate(corner: Corner, secret: str, number_id: str = NUMBER.number_id, overlap_ms: int = 0) -> str:
    return rotate_webhook_key(
        corner.connection,
        "ana",
        number_id,
        overlap_ms=overlap_ms,
        now_ms=NOW_MS,
        random_text=lambda _length: secret,
    )


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture
def acme(corner: Corner) -> Corner:
    add_tenant(corner.connection, "ana", "acme", "Acme Ltda")
    add_number(corner.connection, "ana", NUMBER)
    return corner


def test_a_rotation_publishes_hashes_and_is_audited(acme: Corner) -> None:
    assert read_key(acme.connection, NUMBER.number_id, NOW_MS).changed_at is None
    assert rotate(acme, "one", overlap_ms=60_000) == "one"
    assert rotate(acme, "two", overlap_ms=60_000) == "two"
    assert rotate(acme, "three") == "three"
    assert acme.told("webhook_keys") == [
        WebhookKey(NUMBER.number_id, "uazapi", 1, hash_of("one")),
        WebhookKey(NUMBER.number_id, "uazapi", 2, hash_of("two"), hash_of("one"), NOW_MS + 60_000),
        WebhookKey(NUMBER.number_id, "uazapi", 3, hash_of("three")),
    ]
    standing = read_key(acme.connection, NUMBER.number_id, NOW_MS)
    assert standing.changed_at is not None
    assert standing.former_until is None
    audited = [one for one in entries(acme.connection, limit=10).items if "webhook" in one.action]
    assert [(one.action, one.subject) for one in audited] == [
        ("number.rotate-webhook-key", NUMBER.number_id)
    ] * 3
    everything = [*acme.rows("SELECT webhook_keys::text FROM webhook_keys"), (str(audited),)]
    assert "three" not in str(everything)


def test_only_numbers_without_signatures_have_keys(acme: Corner) -> None:
    meta = NumberDraft("5511", "acme", "meta-cloud", "https://graph.facebook.com", "META_TOKEN")
    add_number(acme.connection, "ana", meta)
    with pytest.raises(NumberRejected, match="by signature"):
        rotate(acme, "one", "5511")
    with pytest.raises(UnknownNumber):
        rotate(acme, "one", "5512")
    assert acme.told("webhook_keys") == []


def test_a_number_that_changes_its_provider_needs_a_key_again(acme: Corner) -> None:
    rotate(acme, "one")
    moved = NumberDraft("558185464605", "acme", "evolution", "https://evolution.example.com", "ACME_TOKEN")
    add_number(acme.connection, "ana", moved)
    assert read_key(acme.connection, NUMBER.number_id, NOW_MS).changed_at is None
    rotate(acme, "two", overlap_ms=60_000)
    assert acme.told("webhook_keys")[-1] == WebhookKey(NUMBER.number_id, "evolution", 2, hash_of("two"))


def test_a_seed_saves_the_same_key_once(acme: Corner) -> None:
    assert save_webhook_key(acme.connection, NUMBER.number_id, "one")
    assert not save_webhook_key(acme.connection, NUMBER.number_id, "one")
    assert len(acme.told("webhook_keys")) == 1


def test_a_restored_catalogue_gets_newer_keys_from_the_topic(acme: Corner) -> None:
    acme.make_all_topics()
    rotate(acme, "old")
    newer = WebhookKey(NUMBER.number_id, "uazapi", 5, hash_of("new"), hash_of("old"), NOW_MS)
    acme.produce("webhook_keys", [newer], NUMBER.number_id.encode())
    bootstrap = acme.bootstrap
    assert restore_catalogue(acme.connection, acme.topology, bootstrap) == 1
    assert acme.rows("SELECT version, key_hash FROM webhook_keys") == [(5, hash_of("new"))]
    assert restore_catalogue(acme.connection, acme.topology, bootstrap) == 0
