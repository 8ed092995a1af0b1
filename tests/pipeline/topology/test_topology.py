"""`topology.yaml` says what runs: whatever is wrong with it is one line that names the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.topology import file
from pipeline.topology.errors import TopologyError
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec

FILE = Path(__file__).resolve().parents[3] / "topology.yaml"


def changed(tmp_path: Path, place: str, value: Any) -> Path:
    """The real file with one place set, or taken away where `value` is `...`."""
    document = yaml.safe_load(FILE.read_text())
    *path, last = place.split(".")
    section = document
    for name in path:
        section = section[name]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    copy = tmp_path / "topology.yaml"
    copy.write_text(yaml.safe_dump(document, sort_keys=False))
    return copy


def refusal(path: Path) -> str:
    with pytest.raises(TopologyError) as raised:
        load(path)
    return str(raised.value)


def test_the_real_file_is_whole() -> None:
    topology = load(FILE)
    qualify = topology.agent("qualify")
    assert qualify.source is topology.topic("completions")
    assert [table.changelog.partitions for table in qualify.tables] == [qualify.source.partitions]
    assert topology.sink("completions").source is topology.topic("completions")
    assert topology.window("contact_quiz").limit < topology.window("contact").limit


def test_what_holds_personal_data_is_kept_for_seven_days_at_most() -> None:
    topology = load(FILE)
    kept = {topic.role: topic.retention_h for topic in topology.topics.values() if topic.personal_data}
    assert {"completions", "matches", "deliveries", "provider_webhooks", "dead_letters"} <= set(kept)
    assert set(kept.values()) == {168}
    assert topology.dead_letters.payload_retention_h == 168


def test_every_schema_of_the_file_has_a_codec() -> None:
    for topic in load(FILE).topics.values():
        if topic.schema is not None:
            assert codec(topic.schema).schema_id > 0


def test_a_namespace_stands_before_every_topic_and_group() -> None:
    plain, named = load(FILE), load(FILE, "blue.")

    def names(topology: Topology) -> list[str]:
        return [
            *(topic.name for topic in topology.topics.values()),
            *(sink.group for sink in topology.sinks.values()),
            topology.stream.group,
            topology.group("extra"),
            topology.agent("dedup").outputs[0].name,
        ]

    assert names(named) == ["blue." + name for name in names(plain)]
    assert named.role_of("blue.quiz.completions.v1") == "completions"
    assert named.role_of("quiz.completions.v1") is None


def test_a_namespace_that_no_topic_can_have_is_refused() -> None:
    with pytest.raises(TopologyError, match="namespace 'a b'"):
        load(FILE, "a b")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("agents.qualify.source", "nowhere", 'agents.qualify.source: no topic "nowhere"'),
        ("agents.qualify.source", ..., "agents.qualify: missing required field `source`"),
        ("agents.qualify.tables", ["nowhere"], 'agents.qualify.tables: no table "nowhere"'),
        ("agents.dedup.tables", ["delivered", "contact_windows"], "tables.contact_windows: 2 agents have it"),
        ("sinks.outcomes.source", "nowhere", 'sinks.outcomes.source: no topic "nowhere"'),
        ("sinks.outcomes.group", "sink-completions", "outcomes.group: sink-completions is also in sinks.c"),
        ("sinks.outcomes.batch_records_max", 0, "sinks.outcomes.batch_records_max: Expected `int` >= 1"),
        ("sinks.outcomes.batch_record_max", 5, "sinks.outcomes: has unknown field `batch_record_max`"),
        ("sinks.outcomes", ..., "topics.outcomes: no reader"),
        ("topics.matches.name", "quiz.outcomes.v1", "name: quiz.outcomes.v1 is also in topics.outcomes"),
        ("topics.matches.name", "no spaces", "topics.matches.name: Expected `str` matching regex"),
        ("topics.matches.schema", "nothing", 'topics.matches.schema: no event "nothing"'),
        ("topics.matches.schema", ..., "topics.matches: needs a schema, or a changelog_of, and not both"),
        ("topics.matches.compact", True, "topics.matches: needs retention_h, or compact: true, and not both"),
        ("topics.matches.partitions", "8", "topics.matches.partitions: Expected `int`, got `str`"),
        ("topics.completions.partitions", 4, "contact_windows_changelog.partitions: 8, but completions"),
        ("topics.dead_letters.retention_h", 720, "topics.dead_letters.retention_h: personal data is"),
        ("topics.completions.retention_h", 169, "topics.completions.retention_h: personal data is kept"),
        ("dead_letters.payload_retention_h", 169, "dead_letters.payload_retention_h: personal data is kept"),
        ("dead_letters.row_retention_days", 6, "dead_letters.row_retention_days: shorter than payload_reten"),
        ("topics.dead_letters.record_bytes_max", 1000, "topics.dead_letters.record_bytes_max: must hold any"),
        ("topics.stray", {"name": "stray.v1", "key": "k", "partitions": 1, "compact": True, "schema": "quiz"},
         "topics.stray: no writer"),
        ("tables.delivered.changelog", "contact_windows_changelog", "is not marked changelog_of: delivered"),
        ("tables.delivered.retention_h", ..., "tables.delivered: missing required field `retention_h`"),
        ("tables.delivered.retention_h", 552, "tables.delivered.retention_h: must be longer than 552"),
        ("retention.archive_days", 440, "retention.archive_days: must be longer than 446: post"),
        ("retention.ended_campaign_days", 46, "ended_campaign_days: must be longer than 46, in which"),
        ("retention.contact_days", 731, "contact_days: must be longer than archive_days"),
        ("edge.submitted_past_max_h", 800, "tables.contact_windows.retention_h: must be longer than 800"),
        ("edge.reference_data", ["quizzes", "outcomes"], "topics.outcomes.compact: reference data is read"),
        ("edge.facts", ["quizzes"], "edge.facts: this key is named reference_data now"),
        ("agents.qualify.facts", ["quizzes"], "agents.qualify.facts: this key is named reference_data now"),
        ("webhooks.in_flight_of_tenant_max", 400, "must be less than in_flight_total_max"),
        ("edge.webhook_bytes_max", 9_000_000, "edge.webhook_bytes_max: 9000000 + 65536 fits no topic"),
        ("edge.submitted_past_max_h_service", 96_000, "postgres.partition_past_days_max: 400, but"),
        ("sender.lease_s", 12, "sender.lease_s: must be longer than call_timeout_s + mark_to_call_max_ms"),
        ("sender.retry_jitter_ratio", 2, "sender.retry_jitter_ratio: Expected `float` <= 1"),
        ("windows.contact.limit", 65, "windows.remembered_per_contact_max: a window of 65"),
        ("version", 2, "version: Invalid enum value 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(tmp_path: Path, place: str, value: Any, says: str) -> None:
    said = refusal(changed(tmp_path, place, value))
    assert said.startswith("topology.yaml: ")
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\nversion: 1\n", "line 2: 'version' occurs twice"),
        ("a: &x [1]\nb: *x\n", "line 2: aliases are not supported"),
        ("a: [1\n", "line 2: "),
        ("- 1\n", "Expected `object`, got `array`"),
        ("", "Expected `object`, got `null`"),
        ("a: !!python/object:os.system x\n", "line 1: could not determine a constructor"),
        ("x: " + "y" * 1_000_001, "larger than 1000000 bytes"),
        ("{" * 5_000, "is not YAML"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(text)
    assert says in refusal(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "topology.yaml") == "topology.yaml: cannot be read: No such file or directory"


def test_the_json_schema_for_editors_is_current_and_takes_the_file() -> None:
    assert file.JSON_SCHEMA_FILE.read_text() == file.json_schema(), (
        "write it with `python -m pipeline.topology.file`"
    )
    document = yaml.safe_load(FILE.read_text())
    schema = yaml.safe_load(file.json_schema())
    jsonschema.validate(document, schema)
    document["sinks"]["outcomes"]["batch_record_max"] = 5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_a_network_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "edge.sources.proxies" in refusal(changed(tmp_path, "edge.sources.proxies", ["10.0.0.1/8"]))
    assert "edge.sources.trusted" in refusal(changed(tmp_path, "edge.sources.trusted", ["localhost"]))
