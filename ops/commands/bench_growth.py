"""`quizstream bench growth`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.bench_print import print_result


def growth(
    campaigns: Annotated[
        str, typer.Option(help="Numbers of campaigns, parted by commas; empty to leave them out.")
    ] = "10,100,1000,10000",
    keys: Annotated[
        str, typer.Option(help="Keys already in a table, such as 1e4,5e6; empty to leave them out.")
    ] = "1e4,1e5,1e6,5e6",
    partitions: Annotated[
        str, typer.Option(help="Partitions a worker has, parted by commas; empty to leave them out.")
    ] = "1,8,32",
    rounds: Annotated[
        int, typer.Option(min=3, help="Turns; in each every size is measured, in another order.")
    ] = 15,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Does a record cost more when there is more of everything? CPU of the stages against what grows.

    The judging stage against campaigns, which differ by an answer, by a band of the score, by their quiz or
    by their tenant; both stages against the keys in their RocksDB tables, which are filled before in a
    temporary folder (about a minute and up to 1.5 GB for 5e6); dedup against partitions. CPU time of all
    threads, medians of rounds. Starts no server.

    Draw the page with `python -m benchmarks.growth_page RESULT.json PAGE.svg`.

    Exit codes: 0 every curve is flat within 20 %, 1 one bends, 2 nothing could be measured.

    Examples:

      quizstream bench growth --json > growth.json

      quizstream bench growth --campaigns 10,1000 --keys "" --partitions "" --rounds 5
    """
    from benchmarks import growth as measurement

    sizes = [_sizes(text, name) for text, name in ((campaigns, "campaigns"), (keys, "keys"))]
    counts = _sizes(partitions, "partitions")
    print_result(lambda tell: measurement.measure(sizes[0], sizes[1], counts, rounds, tell), json)


def _sizes(text: str, option: str) -> list[int]:
    """Whole numbers, also as 5e6."""
    try:
        sizes = [int(float(part)) for part in text.split(",") if part.strip()]
    except (ValueError, OverflowError):
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(f"{text!r}: numbers from 1 on, parted by commas", param_hint=f"--{option}")
    return sorted(set(sizes))
