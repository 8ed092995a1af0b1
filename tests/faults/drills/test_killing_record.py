"""A record that ends the whole process is given up at its third death, alone; the others go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from ops.embedded.stack import ServerUrls
from ops.topics.command import apply
from pipeline.engine.crash_memory import DEATHS_MAX
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.loader import load
from schemas.codec import codec
from tests.support.killing_worker import KILLER
from tests.support.producer import delivered, make_producer
from tests.support.running_pipeline import until

pytestmark = [pytest.mark.full, pytest.mark.timeout(900), pytest.mark.xdist_group("drills-replay")]

CHECKOUT = Path(__file__).resolve().parents[3]
WAIT_S = 120.0


def test_a_record_that_kills_the_worker_is_a_dead_letter_the_third_time(
    stack: ServerUrls, namespace: str, tmp_path: Path
) -> None:
    topology_file = CHECKOUT / "topology.yaml"
    topology = load(topology_file, namespace)
    apply(topology, stack.kafka_bootstrap, 1)
    good = [b"good %d" % number for number in range(60)]
    log = [*good[:25], KILLER, *good[25:]]
    producer = make_producer(stack.kafka_bootstrap)
    for value in log:
        producer.produce(topology.topic("matches").name, value, b"k", 0)
    delivered(producer)

    def values(role: str) -> list[bytes]:
        while True:
            try:
                scan = TopicScan(stack.kafka_bootstrap, topology.topic(role))
                return [record.value or b"" for record in scan.records()]
            except KafkaException as error:
                # A topic that was made a moment ago has no leader yet, as its broker knows it.
                if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
                    raise

    def ran() -> int:
        """One life of the worker: how it ended, of itself or at the end of the log."""
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.killing_worker"),
                *("--bootstrap", stack.kafka_bootstrap, "--namespace", namespace),
                *("--topology", str(topology_file), "--home", str(tmp_path / "worker")),
            ],
            cwd=CHECKOUT,
        )
        try:
            until(lambda: worker.poll() is not None or set(values("deliveries")) == set(good), "all", WAIT_S)
            worker.terminate()
            return worker.wait(30)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    deaths = 0
    while (status := ran()) != 0:
        assert status == -signal.SIGSEGV
        deaths += 1
        assert deaths <= DEATHS_MAX + 1, "it is not given up"

    assert deaths >= DEATHS_MAX
    (letter,) = [codec("dead_letter").decode(value) for value in values("dead_letters")]
    assert (letter.personal.value, letter.source_offset, letter.attempts) == (KILLER, 25, 1)
    assert "died" in letter.reason
    assert set(Counter(values("deliveries"))) == set(good)
