"""How every `quizstream bench` command ends."""

from __future__ import annotations

from collections.abc import Callable

import typer

from ops.exits import CANNOT, NO, OK


def print_result(measure: Callable[[Callable[[str], None]], object], json: bool) -> None:
    """Runs a measurement and prints its result; raises the command's exit."""
    import sys

    import msgspec

    from benchmarks import e2e as measurement
    from benchmarks import show
    from benchmarks.load import LoadBroken
    from benchmarks.parts import Wrong
    from ops.deployment.up import end_on_sigterm
    from ops.embedded.cannot_start import CannotStart

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    end_on_sigterm()
    try:
        measured = measure(tell)
    except Wrong as wrong:
        tell(f"no figures: {wrong}")
        raise typer.Exit(NO) from None
    except (CannotStart, LoadBroken) as error:
        tell(str(error))
        raise typer.Exit(CANNOT) from None
    print(msgspec.json.format(msgspec.json.encode(measured)).decode() if json else show.text(measured))
    fell = isinstance(measured, measurement.Fell) or not getattr(measured, "ok", True)
    raise typer.Exit(NO if fell else OK)
