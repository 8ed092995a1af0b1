"""The simulator's metrics, read from its state at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ops.simulator.send import Provider


class SimulatorCollector(Collector):
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        record, posters = self._provider.record, self._provider.posters
        calls = CounterMetricFamily(
            "quizstream_simulator_calls", "Send calls by answer (none: not answered).", labels=["answer"]
        )
        for answer, count in sorted(record.by_answer.items()):
            calls.add_metric([answer], count)
        yield calls
        yield CounterMetricFamily(
            "quizstream_simulator_messages", "Messages taken.", value=record.taken.total()
        )
        yield GaugeMetricFamily(
            "quizstream_simulator_webhooks_pending",
            "Webhooks to be posted.",
            value=sum(one.pending for one in posters),
        )
        posts = CounterMetricFamily("quizstream_simulator_webhook_posts", "Webhook posts.", labels=["result"])
        posts.add_metric(["accepted"], sum(one.posted for one in posters))
        posts.add_metric(["failed"], sum(one.failed_posts for one in posters))
        posts.add_metric(["dropped"], sum(one.dropped for one in posters))
        yield posts
