"""The tracker never lets a commit pass a record that was not processed, whatever happens in between."""

from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.tracker import ChunkRef, OutOfOrder, Tracker


class TP(NamedTuple):
    topic: str
    partition: int


TP0 = TP("completions", 0)


def test_acks_out_of_order_commit_only_the_done_prefix() -> None:
    tracker = Tracker()
    first = tracker.fetched(TP0, 0, 0, 9)
    second = tracker.fetched(TP0, 0, 10, 19)
    assert first is not None
    assert second is not None

    assert tracker.done(second)
    assert tracker.committable(TP0) is None

    assert tracker.done(first)
    assert tracker.committable(TP0) == 20


def test_a_chunk_that_was_lost_on_its_way_holds_the_commit_back() -> None:
    tracker = Tracker()
    tracker.fetched(TP0, 0, 0, 9)  # dropped: nobody will ever ack it
    later = tracker.fetched(TP0, 0, 10, 19)
    assert later is not None

    tracker.done(later)

    assert tracker.committable(TP0) is None


def test_offsets_missing_in_the_log_do_not_hold_the_commit_back() -> None:
    tracker = Tracker()
    for first, last in ((5, 9), (14, 20)):
        ref = tracker.fetched(TP0, 0, first, last)
        assert ref is not None
        tracker.done(ref)

    assert tracker.committable(TP0) == 21


def test_the_ack_of_a_chunk_from_before_a_revoke_means_nothing() -> None:
    tracker = Tracker()
    old = tracker.fetched(TP0, 0, 0, 9)
    assert old is not None
    tracker.forget([TP0])
    again = tracker.fetched(TP0, tracker.epoch(TP0), 0, 4)  # the same records, cut elsewhere
    assert again is not None

    assert not tracker.done(old)
    assert not tracker.begin(old)

    assert tracker.committable(TP0) is None


def test_records_that_were_read_before_a_seek_are_refused() -> None:
    tracker = Tracker()
    epoch = tracker.epoch(TP0)
    tracker.moved(TP0)

    assert tracker.fetched(TP0, epoch, 500, 599) is None


def test_what_is_done_can_be_committed_after_the_position_moved_and_before_the_partition_is_forgotten() -> (
    None
):
    tracker = Tracker()
    ref = tracker.fetched(TP0, 0, 0, 9)
    assert ref is not None
    tracker.moved(TP0)  # the revocation has begun; the stage still ends its chunk

    assert tracker.done(ref)

    assert tracker.committable(TP0) == 10


def test_overlapping_chunks_within_an_epoch_are_an_error() -> None:
    tracker = Tracker()
    tracker.fetched(TP0, 0, 0, 9)

    with pytest.raises(OutOfOrder):
        tracker.fetched(TP0, 0, 5, 14)


def test_only_begun_chunks_are_in_hand() -> None:
    tracker = Tracker()
    ref = tracker.fetched(TP0, 0, 0, 9)
    assert ref is not None
    assert tracker.in_hand() == []

    assert tracker.begin(ref)
    assert tracker.in_hand() == [ref]

    tracker.done(ref)
    assert tracker.in_hand() == []
    assert not tracker.begin(ref)


LOG_END = 60


class Rebalances(RuleBasedStateMachine):
    """Workers read one log with holes in it, lose it, get it back, and ack late, twice or never.

    Each worker has its own tracker. `durable` is what any worker has really processed; `committed` is what
    the group's coordinator accepted. As in Kafka only the present owner's commit is accepted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trackers = [Tracker(), Tracker()]
        self.log: list[int] = []
        self.owner = 0
        self.position = 0
        self.committed = 0
        self.durable: set[int] = set()
        self.read: list[
            tuple[int, int, list[int]]
        ] = []  # worker, epoch, offsets: drained, not yet registered
        self.out: list[tuple[int, ChunkRef, list[int]]] = []  # every chunk ever handed out

    @initialize(holes=st.sets(st.integers(0, LOG_END - 1), max_size=20))
    def cut_holes(self, holes: set[int]) -> None:
        self.log = [offset for offset in range(LOG_END) if offset not in holes]

    @property
    def tracker(self) -> Tracker:
        return self.trackers[self.owner]

    @rule(size=st.integers(1, 7))
    def drain(self, size: int) -> None:
        offsets = [o for o in self.log if o >= self.position][:size]
        if offsets:
            self.read.append((self.owner, self.tracker.epoch(TP0), offsets))
            self.position = offsets[-1] + 1

    @precondition(lambda self: self.read)
    @rule()
    def register(self) -> None:
        worker, epoch, offsets = self.read.pop(0)
        ref = self.trackers[worker].fetched(TP0, epoch, offsets[0], offsets[-1])
        if ref is not None:
            self.out.append((worker, ref, offsets))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def process_and_ack(self, data: st.DataObject) -> None:
        worker, ref, offsets = data.draw(st.sampled_from(self.out))
        self.durable.update(offsets)
        self.trackers[worker].done(ref)

    @rule(worker=st.integers(0, 1))
    def commit(self, worker: int) -> None:
        offset = self.trackers[worker].committable(TP0)
        if offset is not None and worker == self.owner:
            self.committed = offset

    @rule()
    def seek_to_committed(self) -> None:
        self.tracker.moved(TP0)
        self.position = self.committed

    @rule(commits=st.booleans(), to=st.integers(0, 1))
    def rebalance(self, commits: bool, to: int) -> None:
        self.tracker.moved(TP0)
        if commits:
            self.commit(self.owner)
        self.tracker.forget([TP0])
        self.owner = to
        self.seek_to_committed()

    @rule(to=st.integers(0, 1))
    def owner_is_stopped_and_finds_out_later(self, to: int) -> None:
        self.owner = to  # the old owner's tracker hears nothing of it
        self.tracker.forget([TP0])
        self.seek_to_committed()

    @invariant()
    def commits_never_pass_what_is_durable(self) -> None:
        assert {o for o in self.log if o < self.committed} <= self.durable


TestRebalances = Rebalances.TestCase
TestRebalances.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
