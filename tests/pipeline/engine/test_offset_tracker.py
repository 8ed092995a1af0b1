"""The tracker never lets a commit pass a record that was not processed, whatever happens in between."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.offset_tracker import ChunkLost, ChunkRef, OutOfOrder, Tracker


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


def test_a_chunk_that_was_lost_on_its_way_is_noticed_with_the_next_one() -> None:
    tracker = Tracker()
    first, lost, later = (tracker.fetched(TP0, 0, at, at + 9) for at in (0, 10, 20))
    assert first is not None
    assert lost is not None
    assert later is not None
    assert tracker.begin(first)

    with pytest.raises(ChunkLost, match="10-19"):
        tracker.begin(later)


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
    assert tracker.in_flight() == []

    assert tracker.begin(ref)
    assert tracker.in_flight() == [ref]

    tracker.done(ref)
    assert tracker.in_flight() == []
    assert not tracker.begin(ref)


LOG_END = 120
STEPS_MIN, STEPS_MAX = 40, 120  # long stories: most of what can go wrong needs a dozen steps

Step = tuple[str, int]
WEIGHTS = {
    "drain": 5,
    "register": 5,
    "ack_next": 4,
    "ack_any": 3,
    "commit": 3,
    "seek": 1,
    "rebalance": 1,
    "stopped": 1,
}
STEPS = st.tuples(
    st.sampled_from([s for s, weight in WEIGHTS.items() for _ in range(weight)]), st.integers(0, 7)
)


class Group:
    """Two workers read one log with holes in it, lose it, get it back, and ack late, twice or never.

    Each has its own tracker. `durable` is what any of them has really processed; `committed` is what the
    group's coordinator accepted: as in Kafka only the present owner's commit.
    """

    def __init__(self, log: list[int]) -> None:
        self.trackers = [Tracker(), Tracker()]
        self.log = log
        self.owner = 0
        self.position = 0
        self.committed = 0
        self.durable: set[int] = set()
        self.drained: list[tuple[int, int, list[int]]] = []  # worker, epoch, offsets: not yet registered
        self.out: list[tuple[int, ChunkRef, list[int]]] = []  # every chunk ever handed out

    def drain(self, n: int) -> None:
        offsets = [o for o in self.log if o >= self.position][: n + 1]
        if offsets:
            self.drained.append((self.owner, self.trackers[self.owner].epoch(TP0), offsets))
            self.position = offsets[-1] + 1

    def register(self, n: int) -> None:
        if self.drained:
            worker, epoch, offsets = self.drained.pop(0)
            ref = self.trackers[worker].fetched(TP0, epoch, offsets[0], offsets[-1])
            if ref is not None:
                self.out.append((worker, ref, offsets))

    def ack_next(self, n: int) -> None:
        for worker, ref, offsets in self.out:
            if worker == self.owner and not self.durable.issuperset(offsets):
                self._process(worker, ref, offsets)
                return

    def ack_any(self, n: int) -> None:
        if self.out:
            self._process(*self.out[-1 - n % len(self.out)])

    def _process(self, worker: int, ref: ChunkRef, offsets: list[int]) -> None:
        self.durable.update(offsets)
        self.trackers[worker].done(ref)

    def commit(self, n: int) -> None:
        offset = self.trackers[self.owner].committable(TP0)
        if offset is not None:
            self.committed = offset

    def seek(self, n: int) -> None:
        self.trackers[self.owner].moved(TP0)
        self.position = self.committed

    def rebalance(self, n: int) -> None:
        self.trackers[self.owner].moved(TP0)
        self.commit(n)
        self.trackers[self.owner].forget([TP0])
        self.owner = n % 2
        self.seek(n)

    def stopped(self, n: int) -> None:
        self.owner = n % 2  # the old owner's tracker hears nothing of it
        self.trackers[self.owner].forget([TP0])
        self.seek(n)


@settings(max_examples=800, deadline=None)
@given(
    holes=st.sets(st.integers(0, LOG_END - 1), max_size=30),
    steps=st.lists(STEPS, min_size=STEPS_MIN, max_size=STEPS_MAX),
)
def test_commits_never_pass_what_is_durable(holes: set[int], steps: list[Step]) -> None:
    group = Group([offset for offset in range(LOG_END) if offset not in holes])
    for name, n in steps:
        getattr(group, name)(n)
        assert {o for o in group.log if o < group.committed} <= group.durable, name


@settings(max_examples=100, deadline=None)
@given(holes=st.sets(st.integers(0, LOG_END - 1), max_size=30), sizes=st.lists(st.integers(0, 7), min_size=1))
def test_everything_is_committed_once_everything_is_acked(holes: set[int], sizes: list[int]) -> None:
    group = Group([offset for offset in range(LOG_END) if offset not in holes])
    for n in sizes:
        group.drain(n)
        group.register(n)
    for n in range(len(group.out)):
        group.ack_any(n)
    group.commit(0)
    if group.out:
        assert group.committed == group.position
