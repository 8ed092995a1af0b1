"""`quizstream bench`, registered by the entry point `bench` of pyproject.toml."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import typer

from benchmarks import plans
from ops.exits import NO, OK

PARTS: tuple[type[msgspec.Struct], ...] = (
    *(plans.E2e, plans.Compare, plans.Edge, plans.Guards, plans.Stages, plans.Sink, plans.Sender),
    *(plans.Peers, plans.Growth, plans.Workers, plans.Storage, plans.Recovery, plans.Expiry),
)
KEYWORD = inspect.Parameter.KEYWORD_ONLY
END = """

Exit codes: 0 measured, 1 a check failed (no figures) or a limit is exceeded, 2 not measured.

Example: `quizstream bench {verb}{required} --json`
"""
SHAPES: tuple[type[msgspec.Struct], ...] = (
    plans.Backlog,
    plans.Spike,
    plans.Users,
    plans.Rebalance,
    plans.Overload,
)

bench = typer.Typer(
    name="bench",
    help="Measure. Every result is checked before it is printed, with its machine and commit.",
    no_args_is_help=True,
)
shapes = typer.Typer(name="shapes", help="Measure loads that are not constant.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds `quizstream bench`."""
    app.add_typer(bench)


def command(plan: type[msgspec.Struct], group: str = "") -> Callable[..., None]:
    """A verb with an option for each field of the plan; it runs `measure` of the scenario of that name."""
    types = get_type_hints(plan)
    parameters = []
    for field in msgspec.structs.fields(plan):
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        default = inspect.Parameter.empty if default is msgspec.NODEFAULT else default
        of: Any = Annotated[types[field.name], _option(field.name, types[field.name])]
        parameters.append(inspect.Parameter(field.name, KEYWORD, default=default, annotation=of))
    of = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
    parameters.append(inspect.Parameter("json", KEYWORD, default=False, annotation=of))

    def run(json: bool, **options: Any) -> None:
        report(plan(**options), json)

    run.__name__ = plan.__name__.lower()
    required = "".join(f" --{name} ..." for name in plan.__struct_fields__[: -len(plan.__struct_defaults__)])
    run.__doc__ = inspect.cleandoc(plan.__doc__ or "") + END.format(
        verb=group + run.__name__, required=required
    )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(name: str, of: Any) -> Any:
    """`rate_per_s` is `--rate`; a list is given as its singular, again and again."""
    flag = name.removesuffix("_per_s").removesuffix("_s").replace("_", "-")
    many = get_origin(of) is list
    value = get_args(of)[0] if many else of
    limits: Any = {"min": plans.MIN.get(name, 1), "max": plans.MAX.get(name)} if value in (int, float) else {}
    return typer.Option(f"--{flag.removesuffix('s') if many else flag}", help=plans.HELP[name], **limits)


def report(plan: msgspec.Struct, json: bool) -> None:
    """Measures and prints the result; progress goes to stderr. Raises the command's exit."""
    from benchmarks.measure.checks import CheckFailed
    from benchmarks.report.text import text
    from ops.deployment.up import end_on_sigterm

    def log(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    end_on_sigterm()
    try:
        result = import_module(f"benchmarks.scenarios.{type(plan).__name__.lower()}").measure(plan, log)
    except CheckFailed as failed:
        log(f"no figures: {failed}")
        raise typer.Exit(NO) from None
    print(msgspec.json.format(msgspec.json.encode(result)).decode() if json else text(result))
    raise typer.Exit(OK if getattr(result, "ok", True) else NO)


@bench.command()
def plot(
    result: Annotated[Path, typer.Argument(help="A result of `--json`.", exists=True, dir_okay=False)],
    page: Annotated[Path, typer.Argument(help="The SVG file to write.")],
) -> None:
    """Draw a result of e2e, growth, shapes spike, shapes users or a journey of peers on one page.

    Exit codes: 0 drawn, 2 there is no page for this kind of result.

    Example: `quizstream bench plot benchmarks/results/growth.json growth.svg`
    """
    from benchmarks.report import pages

    page.write_text(pages.page(result.read_bytes()), encoding="utf-8")


for _plan in PARTS:
    bench.command()(command(_plan))
for _plan in SHAPES:
    shapes.command()(command(_plan, "shapes "))
bench.add_typer(shapes)
