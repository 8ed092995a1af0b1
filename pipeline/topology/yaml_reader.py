"""Reads the bytes of `topology.yaml` into its types; `checks` compares its sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import yaml

from pipeline.topology.errors import TopologyError
from pipeline.topology.file import AgentFile, SinkFile, TableFile, TopicFile, TopologyFile

FILE_BYTES_MAX = 1_000_000

RENAMED_KEYS = {"facts": "reference_data"}  # of agents and the edge
SECTIONS: dict[str, type] = {"topics": TopicFile, "tables": TableFile, "agents": AgentFile, "sinks": SinkFile}


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases and repeated keys, which make a file differ from its appearance."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise TopologyError(f"line {line}: aliases are not supported: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise TopologyError(f"line {key.start_mark.line + 1}: {key.value!r} occurs twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path) -> TopologyFile:
    """Raises TopologyError for a file that is missing, too large, not YAML, or not of its types."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise TopologyError(f"cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise TopologyError(f"larger than {FILE_BYTES_MAX} bytes")
    try:
        loaded = yaml.load(content, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise TopologyError(f"{line}{error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise TopologyError("is not YAML") from None
    return typed(loaded)


def typed(loaded: Any) -> TopologyFile:
    """Raises TopologyError. Entries go one by one, since msgspec's paths leave out a mapping's keys."""
    if isinstance(loaded, dict):
        _reject_renamed_keys(loaded)
        for section, entry_type in SECTIONS.items():
            entries = loaded.get(section)
            if isinstance(entries, dict):
                for name, entry in entries.items():
                    _convert(entry, entry_type, f"{section}.{name}")
    return cast(TopologyFile, _convert(loaded, TopologyFile, ""))


def _reject_renamed_keys(loaded: dict[str, Any]) -> None:
    agents = loaded.get("agents")
    places = {"edge": loaded.get("edge")}
    places |= {f"agents.{name}": agent for name, agent in agents.items()} if isinstance(agents, dict) else {}
    for place, section in places.items():
        for old, new in RENAMED_KEYS.items():
            if isinstance(section, dict) and old in section:
                raise TopologyError(f"{place}.{old}: this key is named {new} now: rename it")


def _convert(value: Any, as_type: Any, place: str) -> Any:
    try:
        return msgspec.convert(value, as_type)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `")
        where = ".".join(part for part in (place, path.rstrip("`").removeprefix("$").lstrip(".")) if part)
        text = text.removeprefix("Object ").replace("contains", "has").strip()
        raise TopologyError(f"{where}: {text}" if where else text) from None
