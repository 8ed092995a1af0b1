"""Checks that the current schemas can read every record that topics may hold.

`python -m schemas.compatibility` runs in CI. It checks that

- every current schema has landed;
- every current schema reads all versions of its event that ever landed;
- with `--against REF`: no version that landed in REF is missing or changed.

`--land` writes the current schemas into `landed/`, if they can read what landed before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas import catalogue
from schemas.catalogue import EVENT_TYPES, FOLDER, LANDED, LANDED_ORDER, Schema, schema_id_of

RAN = 0
INCOMPATIBLE = 1
UNANSWERED = 2


def reading_problems(reader: Schema, writer: Schema) -> list[str]:
    """The reasons why `reader` cannot read all records written with `writer`; empty if it can."""
    from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
    from avro.schema import parse

    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(parse(reader.text), parse(writer.text))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return list(dict.fromkeys(result.messages)) or ["is not compatible"]


def problems() -> Iterator[str]:
    """The problems of the schemas of this checkout, without comparison."""
    try:
        catalogue.by_id()
    except ValueError as error:
        yield f"{error}: rename a record, so that their ids differ"
    for event in EVENT_TYPES:
        current = catalogue.current(event)
        versions = catalogue.landed(event)
        ids = catalogue.landed_order().get(event, [])
        for schema_id, schema in zip(ids, versions, strict=True):
            if schema.schema_id != schema_id:
                yield f"landed/{event}/{schema_id}.avsc: was changed after it landed (id {schema.schema_id})"
        if current.schema_id not in ids:
            yield f"{event}.avsc: has not landed; run `python -m schemas.compatibility --land`"
        for schema in versions:
            for problem in reading_problems(current, schema):
                yield f"{event}.avsc: cannot read version {schema.schema_id}: {problem}"
        strays = {path.stem for path in (LANDED / event).glob("*.avsc")} - {
            str(schema_id) for schema_id in ids
        }
        for stray in sorted(strays):
            yield f"landed/{event}/{stray}.avsc: is not in landed/order.json"


def _unreadable(event: str) -> Iterator[str]:
    for schema in catalogue.landed(event):
        for problem in reading_problems(catalogue.current(event), schema):
            yield f"{event}.avsc: cannot read version {schema.schema_id}: {problem}"


def problems_against(ref: str) -> Iterator[str]:
    """Versions landed in `ref` that are missing or changed here; ValueError if git has no such ref."""
    _git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    order_name = str(LANDED_ORDER.relative_to(_root()))
    names = _git("ls-tree", "-r", "--name-only", ref, "--", str(LANDED.relative_to(_root()))).split()
    if not names:
        print(f"no schema had landed in {ref}: nothing to compare with")
        return
    for name in names:
        path = _root() / name
        if name == order_name:
            continue
        if not path.exists():
            yield f"{name}: landed in {ref} and is missing; a topic may still hold records of it"
        elif _id_in(path.read_text()) != _id_in(_git("show", f"{ref}:{name}")):
            yield f"{name}: differs from the version that landed in {ref}"
    before: dict[str, list[int]] = json.loads(_git("show", f"{ref}:{order_name}"))
    now = catalogue.landed_order()
    for event, ids in before.items():
        if now.get(event, [])[: len(ids)] != ids:
            yield f"{order_name}: {event}: versions may only be added at the end"


def land() -> list[str]:
    """Write each current schema that has not landed; returns the files written."""
    order = catalogue.landed_order()
    written = []
    for event in EVENT_TYPES:
        current = catalogue.current(event)
        ids = order.setdefault(event, [])
        if current.schema_id in ids or any(_unreadable(event)):
            continue
        path = LANDED / event / f"{current.schema_id}.avsc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((FOLDER / f"{event}.avsc").read_text())
        ids.append(current.schema_id)
        written.append(str(path.relative_to(_root())))
    if written:
        LANDED_ORDER.write_text(json.dumps(order, indent=2, sort_keys=True) + "\n")
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m schemas.compatibility", description=__doc__)
    parser.add_argument("--land", action="store_true", help="write the current schemas into schemas/landed")
    parser.add_argument("--against", metavar="REF", help="a git ref whose landed versions must all be here")
    options = parser.parse_args(arguments)
    if options.land:
        for name in land():
            print(f"landed {name}")
        catalogue.landed.cache_clear()
        catalogue.by_id.cache_clear()
    found = list(problems())
    if options.against is not None:
        try:
            found += problems_against(options.against)
        except ValueError as error:
            print(f"cannot compare with {options.against}: {error}", file=sys.stderr)
            return UNANSWERED
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        count = sum(len(catalogue.landed(event)) for event in EVENT_TYPES)
        print(f"{len(EVENT_TYPES)} events read all of {count} landed versions")
    return INCOMPATIBLE if found else RAN


def _id_in(text: str) -> int:
    return schema_id_of(json.loads(text))


def _root() -> Path:
    return FOLDER.parent


def _git(*arguments: str) -> str:
    try:
        ran = subprocess.run(("git", *arguments), cwd=_root(), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ValueError("git is not installed") from None
    if ran.returncode != 0:
        raise ValueError(ran.stderr.strip() or "unknown to git")
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
