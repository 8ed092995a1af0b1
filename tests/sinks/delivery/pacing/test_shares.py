"""Equal shares of the numbers, whoever comes and goes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.pacing.shares import Candidate, Process, Share, share_of

PROVIDERS = ("meta-cloud",)


def process(name: str, *credentials: str) -> Process:
    return Process(name, PROVIDERS, credentials or ("token",))


class Fleet:
    """Processes that act one after the other, each on what it sees then; giving up takes a round."""

    def __init__(self, numbers: dict[str, str]) -> None:
        self.credentials = numbers
        self.holders: dict[str, str | None] = dict.fromkeys(numbers)
        self.alive: dict[str, Process] = {}
        self.leaving: dict[str, set[str]] = {}
        self.moves = 0

    def join(self, process: Process) -> None:
        self.alive[process.owner] = process
        self.leaving[process.owner] = set()

    def die(self, owner: str) -> None:
        """With its leases run out."""
        del self.alive[owner]
        self.holders = {number: None if held == owner else held for number, held in self.holders.items()}

    def act(self, owner: str) -> Share:
        numbers = [
            Candidate(number, PROVIDERS[0], self.credentials[number], held)
            for number, held in self.holders.items()
        ]
        leaving = self.leaving[owner]
        share = share_of(owner, list(self.alive.values()), numbers, leaving)
        assert not share.give_up & leaving
        for number in leaving:
            self.holders[number] = None
        self.leaving[owner] = set(share.give_up)
        for number in share.take:
            assert self.holders[number] is None
            self.holders[number] = owner
            self.moves += 1
        return share

    def settle(self, order: list[str] | None = None) -> None:
        for _ in range(6):
            for owner in order or sorted(self.alive):
                self.act(owner)

    def counts(self) -> Counter[str]:
        return Counter(dict.fromkeys(self.alive, 0)) + Counter(
            held for held in self.holders.values() if held is not None
        )

    def spread(self) -> int:
        counts = [sum(held == owner for held in self.holders.values()) for owner in self.alive]
        return max(counts) - min(counts)


@given(st.integers(0, 40), st.permutations("abcdefg"), st.lists(st.sampled_from("abcdefg"), max_size=12))
def test_every_number_is_held_and_shares_differ_by_one_at_most(
    count: int, order: list[str], changes: list[str]
) -> None:
    fleet = Fleet({f"{number:02d}": "token" for number in range(count)})
    fleet.join(process(order[0]))
    fleet.settle()
    for name in changes:
        if name in fleet.alive and len(fleet.alive) > 1:
            fleet.die(name)
        elif name not in fleet.alive:
            fleet.join(process(name))
        fleet.settle([owner for owner in order if owner in fleet.alive])
        assert None not in fleet.holders.values()
        assert fleet.spread() <= 1
        moves = fleet.moves
        fleet.settle()
        assert fleet.moves == moves  # equal shares stay as they are


def test_four_processes_share_twelve_numbers_and_one_that_comes_later_moves_only_its_share() -> None:
    fleet = Fleet({f"{number:02d}": "token" for number in range(12)})
    for name in "abcd":
        fleet.join(process(name))
        fleet.settle()
    assert fleet.counts() == Counter(a=3, b=3, c=3, d=3)
    fleet.die("b")
    fleet.settle()
    assert fleet.counts() == Counter(a=4, c=4, d=4)
    moves = fleet.moves
    fleet.join(process("z"))
    fleet.settle()
    assert fleet.counts() == Counter(a=3, c=3, d=3, z=3)
    assert fleet.moves - moves == 3


def test_a_process_takes_no_number_whose_secret_it_lacks_and_such_numbers_are_not_left_over() -> None:
    fleet = Fleet({f"x{n}": "x" for n in range(10)} | {f"y{n}": "y" for n in range(2)})
    fleet.join(process("both", "x", "y"))
    fleet.join(process("only-y", "y"))
    fleet.settle()
    assert None not in fleet.holders.values()
    assert [fleet.holders[f"x{n}"] for n in range(10)] == ["both"] * 10
    assert {fleet.holders["y0"], fleet.holders["y1"]} == {"both", "only-y"}


def test_a_number_that_is_being_given_up_is_not_taken_back_before_it_is_free() -> None:
    numbers = [Candidate("1", PROVIDERS[0], "token", "a")]
    share = share_of("a", [process("a")], numbers, leaving={"1"})
    assert share == Share(frozenset(), frozenset(), frozenset())
