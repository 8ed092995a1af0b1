"""Messages from before a number was connected: who decided in them is not written to, by their own time."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from sinks.webhook import Webhook
from sinks.whatsapp.meta_cloud.webhook import parse
from tests.sinks.delivery.webhooks.test_opt_out_forms import ANA, WA_ID, shop, suppressed, text
from tests.sinks.delivery.webhooks.test_statuses import SINK, webhook
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner

__all__ = ["shop"]

OURS = "551130000001"
NOW_S = NOW_MS // 1000
DAY_S = 86_400


def said(body: str, days_ago: int = 100, /, **more: Any) -> dict[str, Any]:
    told = {"timestamp": str(NOW_S - days_ago * DAY_S), "id": f"past.{body}.{days_ago}"}
    return text(body, **{**told, "history_context": {"status": "READ"}, **more})


def past(*messages: object, person: str = WA_ID, display: str = OURS, **more: Any) -> Webhook:
    """A chunk of one person's chat."""
    metadata = {"phone_number_id": "1001", "display_phone_number": display}
    chunk = {"metadata": {"phase": 1, "chunk_order": 1}, "threads": [{"id": person, "messages": [*messages]}]}
    value = {"metadata": metadata, "history": [chunk], **more}
    entry = {"id": "1", "changes": [{"field": "history", "value": value}]}
    return parse(json.dumps({"entry": [entry]}).encode(), NOW_MS)


def test_an_old_opt_out_counts_from_its_own_time(shop: Corner) -> None:
    shop.write(SINK, [past(said("SAIR"))])

    assert suppressed(shop) == {ANA}
    assert shop.rows("SELECT decided_at = to_timestamp(%s) FROM suppressions", NOW_S - 100 * DAY_S) == [
        (True,)
    ]
    assert shop.rows("SELECT kind, consent FROM inbound_events") == [("past_message", "stop")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(
    ("said_when", "stopped"),
    [
        ([("sair", 100), ("start", 50), ("obrigado", 20)], False),
        ([("start", 100), ("sair", 50), ("obrigado", 20)], True),
    ],
)
def test_the_latest_decision_counts_in_any_order(
    shop: Corner, said_when: list[tuple[str, int]], stopped: bool, order: tuple[int, ...]
) -> None:
    for place in order:
        shop.write(SINK, [past(said(*said_when[place]))])

    assert suppressed(shop) == ({ANA} if stopped else set())


def test_an_old_opt_in_ends_no_later_opt_out(shop: Corner) -> None:
    shop.write(SINK, [webhook(messages=[text("stop")])])
    shop.write(SINK, [past(said("start"))])

    assert suppressed(shop) == {ANA}


@pytest.mark.parametrize(
    ("message", "display"),
    [
        (said("sair") | {"from": OURS}, OURS),
        (said("sair") | {"from": OURS, "to": WA_ID}, OURS),
        (said("sair") | {"from": OURS}, "+55 (11) 3000-0001"),
        (said("sair") | {"from": OURS, "to": WA_ID}, ""),
        (said("sair") | {"from": OURS}, ""),
    ],
)
def test_what_the_business_wrote_is_no_opt_out(shop: Corner, message: dict[str, Any], display: str) -> None:
    shop.write(SINK, [past(message, display=display)])

    assert suppressed(shop) == set()
    assert shop.rows("SELECT count(*) FROM inbound_events") == [(0,)]


def test_a_message_to_the_business_is_the_persons(shop: Corner) -> None:
    shop.write(SINK, [past(said("sair", to=OURS))])

    assert suppressed(shop) == {ANA}


def test_of_old_chats_only_decisions_are_kept(shop: Corner) -> None:
    said_then = [said("oi"), said("quero cancelar minha consulta"), said("", type="media_placeholder")]
    media = said("", type="image", image={"id": "1", "caption": "olha"})
    found = past(*said_then, messages=[media])
    shop.write(SINK, [found])

    assert len(found.inbound) == 4
    assert shop.rows("SELECT count(*) FROM inbound_events") == [(0,)]


def test_an_opt_out_as_the_caption_of_an_old_file_counts(shop: Corner) -> None:
    shop.write(SINK, [past(messages=[said("", type="image", image={"id": "1", "caption": "sair"})])])

    assert suppressed(shop) == {ANA}


@pytest.mark.parametrize("time", [None, "soon", True, -1, 1.5, []])
def test_an_old_message_without_its_time_is_not_read(time: object) -> None:
    message = said("start") | {"timestamp": time}
    found = past(message)

    assert (found.inbound, found.odd) == ((), 1)


@pytest.mark.parametrize("history", ["?", [3], [{"threads": 5}], [{"threads": [{"messages": {}}, 7]}], {}])
def test_odd_history_costs_itself(history: object) -> None:
    value = {"history": history, "messages": [said("sair")]}
    entry = {"id": "1", "changes": [{"field": "history", "value": value}]}
    found = parse(json.dumps({"entry": [entry]}).encode(), NOW_MS)

    assert found.odd > 0
    assert [event.texts for event in found.inbound] == [("sair",)]
