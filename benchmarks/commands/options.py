"""Options that the verbs of `quizstream bench` share, and the way in which each verb ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ops.exits import CANNOT, NO, OK

if TYPE_CHECKING:
    from benchmarks.measure.deployment import Tell
    from benchmarks.measure.machine import Measured
    from ops.locate import Deployment

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds; the figures are medians and extremes of them.")]
PortBase = Annotated[
    int, typer.Option(help="First port of the servers that are started for the measurement.")
]
Matching = Annotated[int, typer.Option(min=0, max=100, help="Percent of completions that match a campaign.")]
WarmUp = Annotated[float, typer.Option(min=1, help="Seconds of load before the measured time.")]


def report(measure: Callable[[Tell], Measured], json: bool) -> None:
    """Runs a measurement and prints its result; progress goes to stderr. Raises the command's exit."""
    import sys

    import msgspec

    from benchmarks.load.generation import LoadBroken
    from benchmarks.measure.checks import CheckFailed
    from benchmarks.report.text import text
    from ops.deployment.up import end_on_sigterm
    from pipeline.errors import CannotStart

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    end_on_sigterm()
    try:
        result = measure(tell)
    except CheckFailed as failed:
        tell(f"no figures: {failed}")
        raise typer.Exit(NO) from None
    except (CannotStart, LoadBroken) as error:
        tell(f"not measured: {error}")
        raise typer.Exit(CANNOT) from None
    print(msgspec.json.format(msgspec.json.encode(result)).decode() if json else text(result))
    raise typer.Exit(OK if getattr(result, "ok", True) else NO)


def report_whole(measure: Callable[[Deployment, Tell], Measured], port_base: int, json: bool) -> None:
    """On a whole deployment that is started for it and removed afterwards."""

    def run(tell: Tell) -> Measured:
        from benchmarks.measure.deployment import whole

        with whole(tell, port_base) as found:
            return measure(found, tell)

    report(run, json)


def sizes(text: str, option: str) -> list[int]:
    """Whole numbers separated by commas, also as 5e6."""
    try:
        numbers = [int(float(part)) for part in text.split(",") if part.strip()]
    except (ValueError, OverflowError):
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise typer.BadParameter(f"{text!r}: numbers from 1, separated by commas", param_hint=f"--{option}")
    return sorted(set(numbers))
