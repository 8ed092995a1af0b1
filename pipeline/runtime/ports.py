"""Every port of one home, all from one base, so that two homes never meet by accident.

| offset | field               | who listens                                          |
|-------:|---------------------|------------------------------------------------------|
|      0 | `edge`              | HTTP edge: completions, webhooks in, health, metrics |
|      1 | `console`           | operator console                                     |
|      2 | `tenants`           | tenant API                                           |
|     10 | `simulator`         | provider simulator                                   |
|     11 | `simulator_smtp`    | provider simulator, e-mail                           |
|     20 | `worker_metrics`    | stream worker: /metrics and /health                  |
|     21 | `sink_metrics`      | Postgres sink                                        |
|     22 | `sender_metrics`    | WhatsApp sender                                      |
|     23 | `supervisor_metrics`| supervisor                                           |
|     24 | `webhooks_metrics`  | webhook sender                                       |
|     25 | `worker_web`        | Faust's own web server                               |
|     32 | `postgres`          | PostgreSQL                                           |
|  41-59 | `worker(1)` ...     | further stream workers of one host, by their number  |
|  60-78 | `edge_own(0)` ...   | each of several edge processes of one host, alone    |
|     79 | `valkey`            | Valkey                                               |
|     92 | `kafka`             | Kafka, clients; of three brokers, the first          |
|     93 | `kafka_controller`  | Kafka, KRaft controller                              |
|     94 | `kafka_2`           | the second of three brokers, clients                 |
|     95 | `kafka_2_controller`| its KRaft controller                                 |
|     96 | `kafka_3`           | the third of three brokers, clients                  |
|     97 | `kafka_3_controller`| its KRaft controller                                 |

Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import CannotStart

PORT_BASE_DEFAULT = 8600
PORT_BASE_ENV = "QUIZSTREAM_PORT_BASE"
PORT_OFFSET_MAX = 97
WORKERS_OFFSET = 40
WORKERS_MAX = 20  # of one host, numbers 0 to 19: each has a port of the table
EDGE_ID = "QUIZSTREAM_EDGE_ID"  # of several edges of one host: a number each, from 0
EDGES_OFFSET = 60
EDGES_MAX = 19  # of one host, numbers 0 to 18: each has a port of the table
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BrokerPorts:
    clients: int
    controller: int


@dataclass(frozen=True, slots=True)
class Ports:
    edge: int
    console: int
    tenants: int
    simulator: int
    simulator_smtp: int
    worker_metrics: int
    sink_metrics: int
    sender_metrics: int
    supervisor_metrics: int
    webhooks_metrics: int
    worker_web: int
    postgres: int
    valkey: int
    kafka: int
    kafka_controller: int
    kafka_2: int
    kafka_2_controller: int
    kafka_3: int
    kafka_3_controller: int

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """Raises CannotStart when a port of the table would fall outside 1024..65535."""
        if not 1024 <= base <= 65535 - PORT_OFFSET_MAX:
            raise CannotStart(
                f"{PORT_BASE_ENV} is {base}: choose a number from 1024 to {65535 - PORT_OFFSET_MAX}."
            )
        return cls(
            edge=base,
            console=base + 1,
            tenants=base + 2,
            simulator=base + 10,
            simulator_smtp=base + 11,
            worker_metrics=base + 20,
            sink_metrics=base + 21,
            sender_metrics=base + 22,
            supervisor_metrics=base + 23,
            webhooks_metrics=base + 24,
            worker_web=base + 25,
            postgres=base + 32,
            valkey=base + 79,
            kafka=base + 92,
            kafka_controller=base + 93,
            kafka_2=base + 94,
            kafka_2_controller=base + 95,
            kafka_3=base + 96,
            kafka_3_controller=base + 97,
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Ports:
        """Reads QUIZSTREAM_PORT_BASE (default 8600)."""
        text = (os.environ if env is None else env).get(PORT_BASE_ENV, "").strip()
        if not text:
            return cls.from_base(PORT_BASE_DEFAULT)
        if not text.isdecimal():
            raise CannotStart(f"{PORT_BASE_ENV} is {text!r}: it must be a number, for example 8600.")
        return cls.from_base(int(text))

    @property
    def base(self) -> int:
        return self.edge

    def worker(self, number: int) -> int:
        """The port of /metrics and /health of the worker of this number; 0 is `worker_metrics`.

        Raises CannotStart for a number without a port.
        """
        _require_number("worker", number, WORKERS_MAX)
        return self.worker_metrics if number == 0 else self.base + WORKERS_OFFSET + number

    def edge_own(self, number: int) -> int:
        """The port on which the edge of this number listens alone, where several share the edge's port.

        Raises CannotStart for a number without a port.
        """
        _require_number("edge", number, EDGES_MAX)
        return self.base + EDGES_OFFSET + number

    def broker(self, node_id: int) -> BrokerPorts:
        """`node_id` counts from 1. Raises KeyError for a broker that the table has no ports for."""
        return {
            1: BrokerPorts(self.kafka, self.kafka_controller),
            2: BrokerPorts(self.kafka_2, self.kafka_2_controller),
            3: BrokerPorts(self.kafka_3, self.kafka_3_controller),
        }[node_id]


def _require_number(process: str, number: int, numbers: int) -> None:
    if not 0 <= number < numbers:
        raise CannotStart(
            f"The {process} {number} has no port: those of one host have the numbers 0 to {numbers - 1}. "
            "Run further ones on another host."
        )
