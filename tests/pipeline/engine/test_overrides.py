"""What the engine overrides of Faust exists upstream, with the signature it was written for, and is listed.

A failure after an upgrade: compare the upstream method with the override, correct the override, then the
signature here and the versions in the table of `pipeline.engine.transport`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher

from pipeline.engine import app, consumer_thread, flow_control, recovery, store, transport

MODULES = (transport, consumer_thread, flow_control, app, recovery, store)
UPSTREAM = ("faust", "mode", "aiokafka")
MADE_BY_METACLASSES = {"_abc_impl", "logger"}

# "Class.name" upstream -> its parameters; None for what is no function.
EXPECTED: dict[str, str | None] = {
    "Transport.Consumer": None,
    "Consumer.RebalanceListener": None,
    "Consumer._new_consumer_thread": "self",
    "Consumer.getmany": "self, timeout",
    "Consumer.ack": "self, message",
    "Consumer._new_offset": "self, tp",
    "Consumer._filter_tps_with_pending_acks": "self, topics=None",
    "Consumer._add_gap": "self, tp, offset_from, offset_to",
    "Consumer._commit_offsets": "self, offsets, start_new_transaction=True",
    "Consumer.perform_seek": "self",
    "Consumer.wait_empty": "self",
    "Consumer.on_partitions_revoked": "self, revoked",
    "Consumer.on_buffer_full": "self, tp",
    "Consumer.verify_event_path": "self, now, tp",
    "ConsumerRebalanceListener.on_partitions_revoked": "self, revoked",
    "AIOKafkaConsumerThread.__post_init__": "self",
    "AIOKafkaConsumerThread._fetch_records": (
        "self, consumer, active_partitions, timeout=None, max_records=None"
    ),
    "AIOKafkaConsumerThread._create_worker_consumer": "self, transport",
    "AIOKafkaConsumerThread.seek": "self, partition, offset",
    "AIOKafkaConsumerThread._seek_wait": "self, consumer, partitions",
    "AIOKafkaConsumerThread._commit": "self, offsets",
    "AIOKafkaConsumerThread.highwater": "self, tp",
    "FlowControlEvent.resume": "self",
    "App.flow_control": None,
    "App.on_rebalance_start": "self",
    "App.on_rebalance_end": "self",
    "Worker._schedule_shutdown": "self, signal",
    "Worker.on_setup_root_logger": "self, logger, level",
    "TableManager.recovery": None,
    "Recovery._slurp_changelogs": None,  # a `Service.task`
    "Store.persisted_offset": "self, tp",
    "Store.set_persisted_offset": "self, tp, offset",
    "StoreT.apply_changelog_batch": "self, batch, to_key, to_value",
    "Store.on_rebalance": "self, assigned, revoked, newly_assigned, generation_id=0",
    "ServiceCallbacks.on_stop": "self",
    "StoreT.reset_state": "self",
    "StoreT.backup_partition": "self, tp, flush=True, purge=False, keep=1",
    "StoreT.restore_backup": "self, tp, latest=True, backup_id=0",
}


def parameters(member: Any) -> str | None:
    if not inspect.isfunction(member):
        return None
    return ", ".join(
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default}"
        for parameter in inspect.signature(member).parameters.values()
    )


def overrides(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What the module's classes define and a class of Faust, mode or aiokafka defines, too."""
    for own in vars(module).values():
        if not inspect.isclass(own) or own.__module__ != module.__name__:
            continue
        upstream = [base for base in own.__mro__ if base.__module__.partition(".")[0] in UPSTREAM]
        for name in vars(own).keys() - MADE_BY_METACLASSES:
            if name.startswith("__") and name != "__post_init__":
                continue
            for base in upstream:
                if name in vars(base):
                    yield f"{base.__name__}.{name}", vars(base)[name]
                    break


def test_every_override_exists_upstream_with_its_signature() -> None:
    found = {name: parameters(member) for module in MODULES for name, member in overrides(module)}

    assert found == EXPECTED


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_override_is_in_the_table(module: ModuleType) -> None:
    rows = (transport.__doc__ or "").splitlines()
    file = module.__name__.rpartition(".")[2]

    assert [name for name, _ in overrides(module) if not any(
        row.startswith(f"| `{name}` | {file} |") for row in rows
    )] == []  # fmt: skip


def test_the_table_has_no_other_rows_and_names_the_installed_versions() -> None:
    table = transport.__doc__ or ""
    listed = {row.split("`")[1] for row in table.splitlines() if row.startswith("| `")}
    words = table.replace("\n", " ")

    assert listed == set(EXPECTED)
    for package in ("faust-streaming", "mode-streaming", "aiokafka"):
        assert f"{package} {version(package)}" in words


def test_private_parts_of_aiokafka_exist() -> None:
    assert {"_fetch_min_bytes", "_fetch_max_wait_ms", "_closed"} <= {
        *AIOKafkaConsumer.__init__.__code__.co_names
    }
    assert {"_closed", "_subscriptions"} <= {*Fetcher.__init__.__code__.co_names}
    assert parameters(Fetcher._create_fetch_waiter) == "self"
    assert parameters(Fetcher.fetched_records) == "self, partitions, timeout=0, max_records=None"
