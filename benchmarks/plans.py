"""The verbs of `quizstream bench`: the options of each with their defaults, and its help.

A field is an option: `rate_per_s` is `--rate`, the list `sides` is `--side`. No heavy imports: every command
of `quizstream` loads this file.
"""

from __future__ import annotations

from msgspec import Struct, field

HELP = {
    "rate_per_s": "Completions a second, constant.",
    "rates_per_s": "Requests a second; may be given again.",
    "seconds": "Measured time.",
    "warm_up_s": "Load before the measured time, in seconds.",
    "matching_percent": "Percent of completions that match a campaign.",
    "rounds": "Rounds; the figures are their medians and extremes.",
    "records": "Completions of a round.",
    "port_base": "First port of the servers that are started.",
    "keep": "Keep the folder of the deployment that was started.",
    "other": "Folder of another checkout with its .venv.",
    "numbers": "Sender numbers, each with its own pace.",
    "workers": "Worker processes; may be given again.",
    "sides": "quizstream, quix, kafka-streams: the stages; quizstream, bullmq: the journey.",
    "keys": "Keys of a table, separated by commas, also as 5e6; empty to leave them out.",
    "campaigns": "Numbers of campaigns, separated by commas; empty to leave them out.",
    "partitions": "Numbers of partitions, separated by commas; empty to leave them out.",
    "times": "Rate in the spike over the rate before and after it.",
    "spike_s": "Length of the spike, in seconds.",
    "after_s": "Load after the spike, in seconds.",
    "users": "Users of a crowd; may be given again.",
    "think_s": "Time from an answer to the next request, in seconds, on average.",
    "turns": "Times that a second worker joins and leaves.",
    "apart_s": "Time between two changes, in seconds.",
}
MIN = {"matching_percent": 0, "think_s": 0.01}  # of the others: 1
MAX = {"matching_percent": 100}
PORT_BASE = 15_000  # below the ports that outgoing connections get
# The brokers' compiler takes a third of a core for most of a minute after their start.
WARM_UP_S = 60.0


class E2e(Struct, frozen=True):
    """Constant load over HTTP: from the due request to the row, the verdict and the provider's call.

    Open loop: the latency of a request that waits counts from when it was due. CPU seconds of every process,
    the load generator's too, are of the measured time. All ids are reconciled before a figure is printed.
    """

    rate_per_s: float = 1667.0
    seconds: float = 600.0
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S
    keep: bool = False
    port_base: int = PORT_BASE


class Compare(Struct, frozen=True):
    """CPU per completion of this checkout (A) beside another one (B), interleaved in one run.

    Each side runs `quizstream bench e2e` of its own checkout and .venv, in a home of its own; A begins the
    odd rounds, B the even ones. Prints each round's ratio A / B and their spread.
    """

    other: str
    rate_per_s: float = 1667.0
    seconds: float = 60.0
    warm_up_s: float = WARM_UP_S
    rounds: int = 3
    port_base: int = PORT_BASE


class Edge(Struct, frozen=True):
    """Cost of a request at the edge, with Kafka behind it: constant rates over HTTP, interleaved.

    Latency counts from when a request was due. The answered ids must be those in the topic. Also the CPU of a
    cached quiz page: whole, packed and 304.
    """

    rates_per_s: list[float] = field(default_factory=lambda: [1667.0, 3334.0])
    seconds: float = 20.0
    rounds: int = 3
    port_base: int = PORT_BASE


class Guards(Struct, frozen=True):
    """Cost of authentication, rate limits, their headers and the anomaly detection in a request at the edge.

    The edge as shipped, and one without them, interleaved: CPU of edge and Valkey for a request with the
    service token, and for one of a client of its own address. The answered ids must be those in the topic.
    """

    rate_per_s: float = 1667.0
    seconds: float = 20.0
    rounds: int = 3
    port_base: int = PORT_BASE


class Stages(Struct, frozen=True):
    """Cost of a record in the batch transport beside Faust's own: a tenth of it, with an empty stage.

    Faust gets a fifth of the records. The stages with their state: `bench peers --side quizstream`.
    """

    records: int = 150_000
    rounds: int = 3
    port_base: int = PORT_BASE


class Sink(Struct, frozen=True):
    """Cost of a row: the sink process reads full topics of completions and verdicts into PostgreSQL."""

    records: int = 100_000
    rounds: int = 3
    port_base: int = PORT_BASE


class Sender(Struct, frozen=True):
    """Speed of sending: the sender process, a ledger full of due deliveries, the simulated provider.

    A round has the messages of `--seconds` at full pace. By the provider's record every delivery was called
    once, and no number was faster than its pace in any second.
    """

    numbers: int = 16
    seconds: float = 15.0
    rounds: int = 3
    port_base: int = PORT_BASE


class Workers(Struct, frozen=True):
    """CPU per completion when 1, 2 and 4 workers share the partitions: at most 1.2 times that of the fewest.

    `quizstream capacity` multiplies the CPU of one worker; this checks that assumption.
    """

    workers: list[int] = field(default_factory=lambda: [1, 2, 4])
    records: int = 120_000
    rounds: int = 3
    port_base: int = PORT_BASE


class Recovery(Struct, frozen=True):
    """Time in which a worker rebuilds tables of so many keys, in an empty and in a kept folder."""

    keys: str = "1e5,1e6"
    port_base: int = PORT_BASE


class Expiry(Struct, frozen=True):
    """Anonymous completions whose times move on by a quarter of the tables' retention with each round.

    Passes when the worker's keys, its folder and the changelog on the broker's disk stop growing.
    """

    records: int = 50_000
    rounds: int = 40
    port_base: int = PORT_BASE


class Growth(Struct, frozen=True):
    """CPU of a record against campaigns, keys in the tables and partitions: every curve flat within 20 %.

    Campaigns differ by an answer, by a band of the score, by their quiz or by their tenant. RocksDB tables
    are filled before in a temporary folder (about a minute and up to 1.5 GB for 5e6). Starts no server.
    """

    campaigns: str = "10,100,1000,10000"
    keys: str = "1e4,1e5,1e6,5e6"
    partitions: str = "1,8,32"
    rounds: int = 15


class Storage(Struct, frozen=True):
    """Bytes on disk of a completion and a message: tables with their indexes, topics of the brokers.

    Sizes do not depend on other load on the machine. Use many completions, so that pages are full.
    """

    records: int = 50_000
    rate_per_s: float = 1000.0
    matching_percent: int = 10
    port_base: int = PORT_BASE


class Peers(Struct, frozen=True):
    """This project beside its alternatives, on the same work, interleaved in one run.

    Stages: Quix Streams and Kafka Streams (needs a javac, else it is left out), with the same windows,
    campaigns and `--records`. Journey, with `--side bullmq`: Express, BullMQ, Valkey and PostgreSQL (needs
    node 20) under the load of `bench e2e`. The output of every side is checked by id. Packages of the peers
    are fetched at first use, by hash, into the user's cache. See benchmarks/peers/README.md.
    """

    sides: list[str] = field(default_factory=lambda: ["quizstream", "quix", "kafka-streams"])
    rounds: int = 3
    records: int = 100_000
    rate_per_s: float = 1667.0
    seconds: float = 60.0
    warm_up_s: float = 15.0
    matching_percent: int = 10
    port_base: int = PORT_BASE


class Backlog(Struct, frozen=True):
    """Time in which a backlog is drained: worker and sink are stopped while a topic fills, then started.

    Counts from their start to the last row and verdict visible in PostgreSQL, and to the last message. A
    million completions take about 3 GB of disk for the run.
    """

    records: int = 1_000_000
    matching_percent: int = 10
    port_base: int = PORT_BASE


class Spike(Struct, frozen=True):
    """Five times the load for half a minute: latency before, in and after it, and the time to recover."""

    rate_per_s: float = 500.0
    times: float = 5.0
    spike_s: float = 30.0
    after_s: float = 60.0
    matching_percent: int = 10
    warm_up_s: float = 15.0
    port_base: int = PORT_BASE


class Overload(Struct, frozen=True):
    """More than can be drained, for minutes: what is accepted and drained, the 202s' times, and the recovery.

    Open loop; what is answered 429 or 503 is not sent again. Latency counts from when a request was due.
    """

    rates_per_s: list[float] = field(default_factory=lambda: [1667.0, 3200.0, 6400.0])
    seconds: float = 300.0
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S
    port_base: int = PORT_BASE


class Users(Struct, frozen=True):
    """100, 500 and 1,000 users at once on as many connections, who think after each answer.

    Closed loop: latency counts from when a completion was first sent. For a constant rate see `bench e2e`.
    """

    users: list[int] = field(default_factory=lambda: [100, 500, 1000])
    think_s: float = 1.0
    seconds: float = 60.0
    matching_percent: int = 10
    port_base: int = PORT_BASE


class Rebalance(Struct, frozen=True):
    """A second worker joins and leaves in order under load: at most 5 s of traffic is processed again."""

    rate_per_s: float = 800.0
    turns: int = 3
    apart_s: float = 20.0
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S
    port_base: int = PORT_BASE
