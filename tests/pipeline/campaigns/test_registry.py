"""Which campaigns are in force when, and that the index finds exactly those whose conditions hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.campaigns import metrics, registry
from pipeline.campaigns.conditions import Subject, compile_condition
from pipeline.campaigns.index import InForce
from pipeline.campaigns.intervals import Intervals
from pipeline.campaigns.registry import CampaignBook, Campaigns
from schemas.records import Answer, Campaign, Completion, Condition, Question, Quiz
from tests.support.stage_events import campaign, completion


def book(*versions: Campaign) -> CampaignBook:
    made = CampaignBook(now_ms=lambda: 0)
    for version in versions:
        made.apply(version)
    return made


def versions_at(known: Campaigns, accepted_at: int, quiz_id: str = "quiz") -> list[tuple[str, int]]:
    """Told by both ways of asking, which must agree."""
    linear = sorted((c.campaign_id, c.version) for c in known.in_force(quiz_id, accepted_at))
    indexed = known.holding(completion(quiz_id=quiz_id, accepted_at=accepted_at))
    assert [(c.campaign_id, c.version) for c in indexed] == linear
    return linear


def test_a_version_holds_from_its_moment_until_the_next_ones() -> None:
    known = book(campaign(version=1, effective_at=100), campaign(version=2, effective_at=200)).snapshot()
    assert versions_at(known, 99) == []
    assert versions_at(known, 100) == [("welcome", 1)]
    assert versions_at(known, 199) == [("welcome", 1)]
    assert versions_at(known, 200) == [("welcome", 2)]


def test_an_inactive_version_ends_the_one_before_and_a_later_one_begins_again() -> None:
    known = book(
        campaign(version=3, effective_at=300),
        campaign(version=2, effective_at=200, active=False),
        campaign(version=1, effective_at=100),
    ).snapshot()
    assert versions_at(known, 150) == [("welcome", 1)]
    assert versions_at(known, 250) == []
    assert versions_at(known, 300) == [("welcome", 3)]


def test_a_campaign_ends_at_its_end() -> None:
    known = book(campaign(effective_at=100, ends_at=150), campaign(version=2, effective_at=200)).snapshot()
    assert versions_at(known, 149) == [("welcome", 1)]
    assert versions_at(known, 150) == []
    assert versions_at(known, 200) == [("welcome", 2)]


def test_a_version_that_takes_effect_before_an_older_one_replaces_it_wholly() -> None:
    known = book(campaign(version=1, effective_at=200), campaign(version=2, effective_at=100)).snapshot()
    assert versions_at(known, 300) == [("welcome", 2)]


def test_a_version_moves_a_campaign_to_another_quiz() -> None:
    known = book(
        campaign(version=1, quiz_ids=("a", "b")), campaign(version=2, quiz_ids=("b", "c"), effective_at=100)
    ).snapshot()
    assert [versions_at(known, 50, quiz) for quiz in "abc"] == [[("welcome", 1)], [("welcome", 1)], []]
    assert [versions_at(known, 100, quiz) for quiz in "abc"] == [[], [("welcome", 2)], [("welcome", 2)]]


def test_a_campaign_answers_its_own_tenants_completions_only() -> None:
    known = book(campaign(tenant_id="other")).snapshot()
    assert known.holding(completion(tenant_id="acme")) == []
    assert len(known.holding(completion(tenant_id="other"))) == 1


def test_a_snapshot_does_not_change_and_the_next_one_has_the_news() -> None:
    made = book(campaign("first"))
    before = made.snapshot()
    assert made.snapshot() is before
    made.apply(campaign("second"))
    assert versions_at(before, 1) == [("first", 1)]
    assert versions_at(made.snapshot(), 1) == [("first", 1), ("second", 1)]


def test_the_first_contents_of_a_version_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    made = book(campaign(effective_at=100), campaign(effective_at=100))
    assert not caplog.records
    made.apply(campaign(effective_at=999))
    assert "other contents" in caplog.text
    assert versions_at(made.snapshot(), 500) == [("welcome", 1)]


def test_every_version_stays_known_by_its_number() -> None:
    known = book(campaign(version=1), campaign(version=2, active=False)).snapshot()
    assert known.version("welcome", 1) == campaign(version=1)
    assert known.version("welcome", 2) == campaign(version=2, active=False)
    assert known.version("welcome", 3) is None
    assert known.version("unheard of", 1) is None


def test_the_newest_title_of_a_quiz_counts() -> None:
    def quiz(version: int, title: str) -> Quiz:
        return Quiz("quiz", "acme", version, title, [Question("q")], 0)

    made = book()
    for event in (quiz(2, "Newer"), quiz(1, "Older")):
        made.apply_quiz(event)
    assert made.snapshot().title("quiz") == "Newer"
    assert made.snapshot().title("other") is None


def test_a_late_campaign_is_counted_once_the_stages_run(caplog: pytest.LogCaptureFixture) -> None:
    made = CampaignBook(now_ms=lambda: 1_000)
    counted = metrics.LATE._value.get()
    made.apply(campaign("read at the start", effective_at=10))
    made.go_live()
    made.apply(campaign("in time", effective_at=1_000))
    assert metrics.LATE._value.get() == counted
    made.apply(campaign("late", effective_at=400))
    assert metrics.LATE._value.get() == counted + 1
    assert "arrived 600 ms after" in caplog.text


numbers = st.one_of(st.integers(-5, 5), st.floats(-5, 5).map(lambda number: round(number, 1)))


@given(st.lists(st.tuples(numbers, numbers), min_size=1), numbers)
def test_intervals_find_what_a_search_of_all_finds(ends: list[tuple[float, float]], number: float) -> None:
    ranges = [(min(pair), max(pair), index) for index, pair in enumerate(ends)]
    ranges += [(low, float("inf"), ~index) for low, _, index in ranges]
    expected = sorted(item for low, high, item in ranges if low <= number <= high)
    assert sorted(Intervals(ranges).holding(number)) == expected


values = st.one_of(st.sampled_from(["a", "b", "1", "2.0", True]), st.integers(0, 4).map(float))
conditions = st.builds(
    lambda field, op, given: Condition(
        field, op, [] if op in ("exists", "absent") else given if op == "one_of" else given[:1]
    ),
    st.sampled_from(["score", "answered", "answers.x", "answers.y"]),
    st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte", "one_of", "exists", "absent"]),
    st.lists(values, min_size=1, max_size=3),
)
versions = st.builds(
    lambda name, version, effective_at, length, active, given: campaign(
        name,
        version,
        effective_at=effective_at,
        ends_at=None if length is None else effective_at + length,
        active=active,
        conditions=tuple(given),
    ),
    st.sampled_from("abcdef"),
    st.integers(1, 4),
    st.integers(0, 20),
    st.one_of(st.none(), st.integers(0, 20)),
    st.sampled_from([True, True, False]),
    st.lists(conditions, max_size=3),
)
answers = st.one_of(
    st.sampled_from(["a", "b", "1", "2.0", True]),
    st.integers(0, 4),
    st.lists(st.sampled_from(["a", "b", "1"])),
)
completions = st.builds(
    lambda accepted_at, given, score: completion(accepted_at=accepted_at, answers=given, score=score),
    st.integers(-1, 45),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), answers),
    st.one_of(st.none(), st.integers(0, 4).map(float)),
)


def in_force_by_definition(known: list[Campaign], done: Completion) -> list[tuple[str, int]]:
    subject = Subject(done)
    at = done.accepted_at
    found = []
    for each in known:
        replaced = any(
            other.campaign_id == each.campaign_id
            and other.version > each.version
            and other.effective_at <= at
            for other in known
        )
        ended = each.ends_at is not None and each.ends_at <= at
        if each.active and each.effective_at <= at and not replaced and not ended:
            tests = [compile_condition(condition) for condition in each.conditions]
            if all(test.holds(subject) for test in tests):
                found.append((each.campaign_id, each.version))
    return sorted(found)


@settings(max_examples=300)
@given(
    st.lists(versions, max_size=24, unique_by=lambda v: (v.campaign_id, v.version)),
    st.lists(completions, min_size=1, max_size=8),
    st.integers(0, 24),
)
def test_the_index_finds_what_the_definition_says(
    known: list[Campaign], done: list[Completion], early: int
) -> None:
    """Given any versions in any order, some of them after the first snapshot, and epochs of few changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "EPOCH_CHANGES_MAX", 3)
        patch.setattr(registry, "EPOCHS_KEPT_MAX", 2)
        made = book(*known[:early])
        made.snapshot()
        for version in known[early:]:
            made.apply(version)
        for each in done:
            found = made.snapshot().holding(each)
            assert [(c.campaign_id, c.version) for c in found] == in_force_by_definition(known, each)


def test_ten_thousand_campaigns_are_not_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equalities, bands of a score and edits over time: few are judged of many, whatever their kind."""

    def value_of(kind: int, index: int) -> tuple[Condition, ...]:
        if kind == 0:
            return (Condition("answers.q", "eq", [f"choice {index}"]), Condition("score", "gte", [0.0]))
        if kind == 1:
            return (Condition("score", "gte", [float(index)]), Condition("score", "lt", [index + 1.0]))
        return (Condition("answers.q", "one_of", [f"choice {index}", f"choice {index + 1}"]),)

    made = book(
        *(
            campaign(f"c{index}", version, conditions=value_of(index % 3, index), effective_at=version * 10)
            for index in range(3_000)
            for version in range(1, 4)
        )
    )
    judged: list[InForce] = []
    judge = InForce.holds

    def watched(entry: InForce, subject: Subject) -> bool:
        judged.append(entry)
        return judge(entry, subject)

    monkeypatch.setattr(InForce, "holds", watched)
    answer: dict[str, Answer] = {"q": "choice 600"}
    found = made.snapshot().holding(completion(accepted_at=35, answers=answer, score=601.5))
    assert [c.campaign_id for c in found] == ["c599", "c600", "c601"]
    assert len(judged) < 20
