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
        record, webhooks = self._provider.record, self._provider.webhooks
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
            "quizstream_simulator_webhooks_pending", "Webhooks to be posted.", value=webhooks.pending
        )
        posts = CounterMetricFamily("quizstream_simulator_webhook_posts", "Webhook posts.", labels=["result"])
        posts.add_metric(["accepted"], webhooks.posted)
        posts.add_metric(["failed"], webhooks.failed_posts)
        posts.add_metric(["dropped"], webhooks.dropped)
        yield posts
