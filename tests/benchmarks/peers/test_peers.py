"""The peers do the same work as the stages, and bring nothing along that only one machine can fetch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.completions import ACCEPTED_AT_MS, CAMPAIGNS, ten_campaigns
from benchmarks.peers import install, verdicts
from ops.embedded import jars
from pipeline.runtime.record import Record
from pipeline.stages import dedup, qualify
from pipeline.topology.file import Window, Windows
from schemas.codec import codec
from schemas.records import Completion, Personal

WINDOWS = Windows(
    contact=Window(limit=3, window_s=60),
    contact_quiz=Window(limit=2, window_s=60),
    remembered_per_contact_max=64,
)

# Few people, quizzes and moments, so that windows fill, empty and matches repeat; some scores match nothing.
completions = st.lists(
    st.builds(
        lambda person, quiz, after_s, score, phone: (person, quiz, after_s, score, phone),
        st.integers(0, 2),
        st.sampled_from(["quiz", "other"]),
        st.integers(0, 90),
        st.integers(0, CAMPAIGNS + 3),
        st.booleans(),
    ),
    max_size=40,
)


def _completion(number: int, person: int, quiz: str, after_s: int, score: int, phone: bool) -> Completion:
    return Completion(
        completion_id=str(UUID(int=number)),
        tenant_id="bench",
        quiz_id=quiz,
        quiz_version=1,
        contact_id=f"{person:032x}",
        day=0,
        submitted_at=ACCEPTED_AT_MS,
        accepted_at=ACCEPTED_AT_MS + 1000 * after_s,
        answers={},
        personal=Personal(phone="+5511987654321" if phone else None),
        score=float(score),
    )


def _by_the_stages(given: Sequence[Completion]) -> verdicts.Expected:
    """What `pipeline.stages` say of them, one record at a time."""
    known = ten_campaigns()
    state: dict[bytes, bytes | None] = {}

    def read(_table: str, keys: list[bytes]) -> list[bytes | None]:
        return [state.get(key) for key in keys]

    judging = qualify.Qualify(qualify.Wiring("outcomes", "matches", "windows", WINDOWS), lambda: known)
    passing = dedup.Dedup(dedup.Wiring("deliveries", "duplicates", "delivered"))
    told = verdicts.Expected({}, set(), set())
    for offset, completion in enumerate(given):
        value = codec("completion").encode(completion)
        record = Record("completions", 0, offset, 0, completion.contact_id.encode(), value)
        judged = judging.process([record], read)
        assert not judged.poison
        state |= {put.key: put.value for put in judged.puts}
        for output in judged.outputs:
            if output.topic == "outcomes":
                outcome = codec("outcome").decode(output.value)
                told.verdicts[outcome.completion_id] = outcome.verdict
                continue
            passed = passing.process([Record("matches", 0, offset, 0, output.key, output.value)], read)
            state |= {put.key: put.value for put in passed.puts}
            for last in passed.outputs:
                if last.topic == "deliveries":
                    match = codec("match").decode(last.value)
                    told.deliveries.add((match.campaign_id, match.completion_id))
                else:
                    duplicate = codec("duplicate").decode(last.value)
                    told.duplicates.add((duplicate.campaign_id, duplicate.completion_id))
    return told


@given(completions)
def test_a_peer_gives_the_verdicts_deliveries_and_duplicates_of_the_stages(
    drawn: list[tuple[int, str, int, int, bool]],
) -> None:
    given = [_completion(number, *values) for number, values in enumerate(drawn)]
    assert verdicts.expected(given, verdicts.Judge(WINDOWS, ten_campaigns)) == _by_the_stages(given)


def test_all_three_verdicts_and_duplicates_occur_in_such_an_input() -> None:
    given = [_completion(number, 0, "quiz", number, 1, True) for number in range(4)]
    given.append(_completion(4, 1, "quiz", 0, CAMPAIGNS + 1, True))
    told = verdicts.expected(given, verdicts.Judge(WINDOWS, ten_campaigns))
    assert [*told.verdicts.values()] == ["matched", "matched", "limited", "limited", "unmatched"]
    assert (len(told.deliveries), len(told.duplicates)) == (1, 1)


def test_a_completion_read_again_gets_its_verdict_again_and_fills_no_window() -> None:
    judge = verdicts.Judge(WINDOWS, ten_campaigns)
    memory: list[Any] = []
    completion = _completion(0, 0, "quiz", 0, 1, True)
    told = {judge.judge(completion, 0, 0, memory).outcome.verdict for _ in range(5)}
    assert told == {"matched"}
    assert len(memory) == 1


def test_the_state_of_a_contact_can_be_written_as_json() -> None:
    """Quix Streams keeps it that way."""
    judge = verdicts.Judge(WINDOWS, ten_campaigns)
    memory: list[Any] = []
    judge.judge(_completion(0, 0, "quiz", 0, 1, True), 0, 0, memory)
    again = json.loads(json.dumps(memory))
    assert judge.judge(_completion(0, 0, "quiz", 0, 1, True), 0, 0, again).outcome.verdict == "matched"
    assert again == memory


def test_python_peers_are_locked_by_hash_and_name_no_registry() -> None:
    lock = install.REQUIREMENTS.read_text()
    pinned = re.findall(r"^[a-z0-9][\w.\-\[\]]*==\S+", lock, re.MULTILINE)
    hashed = re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)
    assert pinned
    assert len(hashed) >= len(pinned)
    assert "://" not in lock
    assert "--index-url" not in lock


def test_node_packages_are_locked_by_hash_and_name_no_registry() -> None:
    lock = json.loads((install.BULLMQ / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert "node_modules/bullmq" in packages
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
    assert "omit-lockfile-registry-resolved=true" in (install.BULLMQ / ".npmrc").read_text()


def test_jars_are_locked_by_hash_and_are_of_the_brokers_release() -> None:
    own = {jar.artifact: jar.version for jar in jars.read_lock(install.KAFKA_STREAMS / "jars.lock")}
    brokers = {jar.artifact: jar.version for jar in jars.read_lock()}
    assert own["kafka-streams"] == brokers["kafka-clients"]
    assert "://" not in (install.KAFKA_STREAMS / "jars.lock").read_text()


def test_a_peer_that_cannot_run_here_is_missing_and_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.Missing, match="node 20 or newer"):
        install.bullmq(print)
    with pytest.raises(install.Missing, match="javac"):
        install.kafka_streams(print)
