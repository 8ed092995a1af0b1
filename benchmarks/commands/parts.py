"""Verbs that measure one part alone: `quizstream bench edge|stages|sink|sender|workers|recovery|growth`."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.commands.options import Json, PortBase, Rounds, report, sizes


def edge(
    rate: Annotated[
        list[float] | None, typer.Option(min=1, help="Requests a second; may be given again.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Measured time of each run.")] = 20.0,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Cost of a request at the edge, with Kafka behind it: constant rates over HTTP, interleaved.

    Latency counts from when a request was due. The answered ids must be those in the topic.

    Exit codes: 0 measured, 1 the topic holds other ids: no figures, 2 not measured.

    Example:

      quizstream bench edge --rate 1667 --rate 3334 --seconds 60 --json
    """
    from benchmarks.scenarios import edge as scenario

    rates = rate or [1667.0, 3334.0]
    report(lambda tell: scenario.measure(rates, seconds, rounds, port_base, tell), json)


def stages(
    records: Annotated[int, typer.Option(min=5000, help="Records of a round; Faust gets a fifth.")] = 150_000,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Cost of a record in the batch transport beside Faust's own transport, with an empty stage.

    `batch_vs_stock`: CPU of a record in Faust's own transport over that in the batch transport. The stages
    with their state: `quizstream bench peers --side quizstream`.

    Exit codes: 0 the ratio is at least 10, 1 it is less or records were lost, 2 not measured.

    Example:

      quizstream bench stages --json
    """
    from benchmarks.scenarios import stages as scenario

    report(lambda tell: scenario.measure(records, rounds, port_base, tell), json)


def sink(
    records: Annotated[int, typer.Option(min=1000, help="Completions of a round.")] = 100_000,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Cost of a row: the sink process reads full topics of completions and verdicts into PostgreSQL.

    Exit codes: 0 measured, 1 rows are missing: no figures, 2 not measured.

    Example:

      quizstream bench sink --json
    """
    from benchmarks.scenarios import sink as scenario

    report(lambda tell: scenario.measure(records, rounds, port_base, tell), json)


def sender(
    numbers: Annotated[int, typer.Option(min=1, help="Sender numbers, each with its own pace.")] = 16,
    seconds: Annotated[float, typer.Option(min=5, help="Sending time of a round at full pace.")] = 15.0,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Speed of sending: the sender process, a ledger full of due deliveries, the simulated provider.

    By the provider's record every delivery was called once, and no number was faster than its pace in any
    second.

    Exit codes: 0 measured, 1 the record differs: no figures, 2 not measured.

    Example:

      quizstream bench sender --numbers 16 --json
    """
    from benchmarks.scenarios import sender as scenario

    report(lambda tell: scenario.measure(numbers, seconds, rounds, port_base, tell), json)


def workers(
    worker: Annotated[
        list[int] | None, typer.Option(min=1, max=8, help="Number of processes; may be given again.")
    ] = None,
    records: Annotated[int, typer.Option(min=5000, help="Completions of a turn.")] = 120_000,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """CPU per completion when 1, 2 and 4 workers share the partitions: at most 1.2 times that of the fewest.

    `quizstream capacity` multiplies the CPU of one worker; this checks that assumption. Every completion must
    come out once, by id.

    Exit codes: 0 the assumption holds, 1 it does not or records are missing, 2 not measured.

    Example:

      quizstream bench workers --worker 1 --worker 4 --records 80000 --rounds 1
    """
    from benchmarks.scenarios import workers as scenario

    counts = sorted(set(worker or [1, 2, 4]))
    report(lambda tell: scenario.measure(counts, records, rounds, port_base, tell), json)


def recovery(
    keys: Annotated[str, typer.Option(help="Sizes of the table, separated by commas.")] = "1e5,1e6",
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Time in which a worker rebuilds its tables from their changelogs, in an empty and in a kept folder.

    Exit codes: 0 measured, 1 a worker did not get ready: no figures, 2 not measured.

    Example:

      quizstream bench recovery --keys 1e5 --json
    """
    from benchmarks.scenarios import recovery as scenario

    wanted = sizes(keys, "keys")
    report(lambda tell: scenario.measure(wanted, port_base, tell), json)


def growth(
    campaigns: Annotated[
        str, typer.Option(help="Numbers of campaigns, separated by commas; empty to leave them out.")
    ] = "10,100,1000,10000",
    keys: Annotated[
        str, typer.Option(help="Keys in a table, such as 1e4,5e6; empty to leave them out.")
    ] = "1e4,1e5,1e6,5e6",
    partitions: Annotated[
        str, typer.Option(help="Partitions of a worker, separated by commas; empty to leave them out.")
    ] = "1,8,32",
    rounds: Annotated[int, typer.Option(min=3, help="Rounds; each measures every size.")] = 15,
    json: Json = False,
) -> None:
    """CPU of a record against what grows: campaigns, keys in the tables, partitions.

    Campaigns differ by an answer, by a band of the score, by their quiz or by their tenant. RocksDB tables
    are filled before in a temporary folder (about a minute and up to 1.5 GB for 5e6). Starts no server.

    Exit codes: 0 every curve is flat within 20 %, 1 one is not, 2 not measured.

    Examples:

      quizstream bench growth --json > growth.json

      quizstream bench growth --campaigns 10,1000 --keys "" --partitions "" --rounds 5
    """
    from benchmarks.scenarios import growth as scenario

    of = [sizes(campaigns, "campaigns"), sizes(keys, "keys"), sizes(partitions, "partitions")]
    report(lambda tell: scenario.measure(of[0], of[1], of[2], rounds, tell), json)
