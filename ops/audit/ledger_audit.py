"""What became of every accepted completion, match and delivery, held against the ledger's laws by id.

Pure: `ops.audit.collect` reads topics, tables and the provider's record and enters what it finds; `judge`
says which laws do not hold. One dictionary entry an id or pair, however many places mention it, so that a
million completions fit in a few hundred megabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

import msgspec

from sinks.delivery.state import ACCEPTED, OPEN, DeliveryState

EXAMPLES_MAX = 20

# What is known of a completion.
IN_TOPIC = 1  # the raw topic holds it
ARCHIVED = 2  # the table holds it
LIMITED = 4
UNMATCHED = 8
MATCHED = 16
VERDICT_ROW = 32  # the table of verdicts holds it
DEAD = 64  # a dead letter says that it got no verdict
DEAD_ROW = 128  # a dead letter says that it could not be archived
CLIENT = 256  # a client was told that it is accepted
ARCHIVE_DUE = 512  # the sink has passed it
VERDICT_DUE = 1024  # the stage has passed it
VERDICT_ROW_DUE = 2048  # the sink has passed its verdict

VERDICTS = {"limited": LIMITED, "unmatched": UNMATCHED, "matched": MATCHED}
_ANY_VERDICT = LIMITED | UNMATCHED | MATCHED
_ACCEPTED = IN_TOPIC | ARCHIVED

# What is known of a match: a pair of a completion and a campaign.
BY_VERDICT = 1  # the completion's verdict names the campaign
MATCH = 2  # the topic of matches holds it
FIRST = 4  # the topic of deliveries holds it
REPEAT = 8  # the topic of duplicates holds it
LEDGER = 16
DUPLICATE_ROW = 32
DEAD_MATCH = 64
MATCH_DUE = 128  # the stage has passed its completion
SPLIT_DUE = 256  # the stage that tells first from repeat has passed it
LEDGER_DUE = 512  # the sink has passed it

SENT_STATES: frozenset[str] = frozenset(ACCEPTED)
DELIVERED_STATES: frozenset[str] = frozenset({DeliveryState.DELIVERED, DeliveryState.READ})
WAITING_STATES: frozenset[str] = frozenset(OPEN)
# A call that the provider took can leave its delivery in these only.
_AFTER_SUCCESS = SENT_STATES | {DeliveryState.CALLING, DeliveryState.AMBIGUOUS, DeliveryState.FAILED}


class Breach(msgspec.Struct, frozen=True):
    """A law that does not hold. `kind`: missing, twice, or unexplained (there without a cause)."""

    kind: str
    what: str
    count: int
    examples: list[str]


class Report(msgspec.Struct, frozen=True):
    """`ok` where no law is broken. All figures are numbers of ids, not of records.

    `dead` counts completions whose fate is a dead letter, `dead_deliveries` ledger rows that were given up;
    `in_flight` what some stage or sink has still to pass; `calls` is None where the provider keeps no record.
    """

    accepted: int
    archived: int
    limited: int
    unmatched: int
    matched: int
    duplicates: int
    deliveries: int
    sent: int
    delivered: int
    failed: int
    ambiguous: int
    suppressed: int
    cancelled: int
    waiting: int
    dead: int
    missing: int
    twice: int
    ok: bool
    matches: int
    dead_deliveries: int
    in_flight: int
    undecodable: int
    calls: int | None
    breaches: list[Breach]


class _Found:
    def __init__(self) -> None:
        self._breaches: dict[tuple[str, str], tuple[int, list[str]]] = {}

    def add(self, kind: str, what: str, example: str) -> None:
        count, examples = self._breaches.get((kind, what), (0, []))
        if len(examples) < EXAMPLES_MAX:
            examples.append(example)
        self._breaches[kind, what] = (count + 1, examples)

    def listed(self) -> list[Breach]:
        return [
            Breach(kind, what, count, examples) for (kind, what), (count, examples) in self._breaches.items()
        ]


class Books:
    """`whole`: the topics still hold their beginnings, so what is in no topic never was accepted."""

    def __init__(self, whole: bool = True) -> None:
        self.whole = whole
        self._ids: dict[bytes, int] = {}
        self._pairs: dict[bytes, int] = {}
        self._campaigns: dict[str, bytes] = {}
        self._dead_positions: set[tuple[int, int]] = set()
        self._undecodable: dict[tuple[int, int], bool] = {}
        self._states: dict[bytes, str] = {}
        self._attempts: dict[bytes, bytes] = {}
        self._called: dict[bytes, bool] = {}  # delivery -> whether a call of it may have reached somebody
        self._took: set[bytes] = set()  # deliveries that the provider said yes to
        self._calls: int | None = None
        self._found = _Found()

    def completion(self, completion_id: bytes, marks: int) -> None:
        """16 bytes of the id."""
        self._ids[completion_id] = self._ids.get(completion_id, 0) | marks

    def archive_row(self, completion_id: bytes) -> None:
        if self._ids.get(completion_id, 0) & ARCHIVED:
            self._found.add("twice", "a completion has two rows", _text(completion_id))
        self.completion(completion_id, ARCHIVED)

    def verdict(self, completion_id: bytes, verdict: str, marks: int = 0) -> None:
        mark = VERDICTS[verdict]
        known = self._ids.get(completion_id, 0)
        if known & _ANY_VERDICT & ~mark:
            self._found.add("twice", "a completion has two different verdicts", _text(completion_id))
        if known & VERDICT_ROW and marks & VERDICT_ROW:
            self._found.add("twice", "a completion has two rows of verdicts", _text(completion_id))
        self.completion(completion_id, mark | marks)

    def undecodable(self, partition: int, offset: int, due: bool) -> None:
        """A record of the raw topic that is no completion. `due`: the stage has passed it."""
        self._undecodable[partition, offset] = due

    def dead_position(self, partition: int, offset: int) -> None:
        """A dead letter for this position of the raw topic."""
        self._dead_positions.add((partition, offset))

    def match(self, completion_id: bytes, campaign_id: str, marks: int) -> None:
        number = self._campaigns.setdefault(campaign_id, len(self._campaigns).to_bytes(4, "big"))
        pair = completion_id + number
        self._pairs[pair] = self._pairs.get(pair, 0) | marks

    def delivery(self, delivery_id: bytes, state: str) -> None:
        self._states[delivery_id] = state

    def attempt(self, attempt_id: bytes, delivery_id: bytes) -> None:
        self._attempts[attempt_id] = delivery_id

    def provider_keeps_a_record(self) -> None:
        self._calls = self._calls or 0

    def call(
        self,
        attempt_id: bytes | None,
        taken: bool,
        certainly_not_sent: bool,
        after_the_tables: bool = False,
    ) -> None:
        """One call in the provider's record, in its order. `taken`: it gave the message an id.

        `after_the_tables`: it came after the tables were read, which therefore may not know it.
        """
        self._calls = (self._calls or 0) + 1
        delivery_id = None if attempt_id is None else self._attempts.get(attempt_id)
        if delivery_id is None:
            if after_the_tables:
                return
            shown = "none" if attempt_id is None else _text(attempt_id)
            self._found.add("unexplained", "a call has no attempt", shown)
            return
        if self._called.get(delivery_id, False):
            self._found.add("twice", "a delivery was called again", _text(delivery_id))
        self._called[delivery_id] = self._called.get(delivery_id, False) or not certainly_not_sent
        if taken and not after_the_tables:
            self._took.add(delivery_id)

    def judge(self, still_moving: str = "") -> Report:
        """To be called once, when everything is entered. `still_moving` says why the wait was given up."""
        in_flight = self._judge_completions() + self._judge_matches()
        self._judge_calls()
        if still_moving:
            self._found.add("missing", "not settled in time", still_moving)
        breaches = self._found.listed()
        marks = Counter(self._ids.values())
        dead = self._sum(marks, _ACCEPTED, lambda mark: mark & DEAD and not mark & _ANY_VERDICT)
        states = Counter(self._states.values())
        return Report(
            accepted=self._sum(marks, _ACCEPTED) + len(self._undecodable),
            archived=self._sum(marks, ARCHIVED),
            limited=self._sum(marks, LIMITED),
            unmatched=self._sum(marks, UNMATCHED),
            matched=self._sum(marks, MATCHED),
            duplicates=self._sum(Counter(self._pairs.values()), DUPLICATE_ROW),
            deliveries=len(self._states),
            sent=sum(states[state] for state in SENT_STATES),
            delivered=sum(states[state] for state in DELIVERED_STATES),
            failed=states["failed"],
            ambiguous=states["ambiguous"],
            suppressed=states["suppressed"],
            cancelled=states["cancelled"],
            waiting=sum(states[state] for state in WAITING_STATES),
            dead=dead + sum(position in self._dead_positions for position in self._undecodable),
            missing=sum(breach.count for breach in breaches if breach.kind == "missing"),
            twice=sum(breach.count for breach in breaches if breach.kind == "twice"),
            ok=not breaches,
            matches=len(self._pairs),
            dead_deliveries=states["dead"],
            in_flight=in_flight,
            undecodable=len(self._undecodable),
            calls=self._calls,
            breaches=breaches,
        )

    @staticmethod
    def _sum(marks: Counter[int], any_of: int, also: object = None) -> int:
        return sum(
            count for mark, count in marks.items() if mark & any_of and (not callable(also) or also(mark))
        )

    def _judge_completions(self) -> int:
        in_flight = 0
        for completion_id, mark in self._ids.items():
            problems = list(_completion_problems(mark, self.whole))
            for kind, what in problems:
                self._found.add(kind, what, _text(completion_id))
            done = mark & (ARCHIVED | DEAD_ROW) and mark & (_ANY_VERDICT | DEAD)
            in_flight += not done and not problems
        for (partition, offset), due in self._undecodable.items():
            if (partition, offset) in self._dead_positions:
                continue
            if due:
                what = "a record that is no completion has no dead letter"
                self._found.add("missing", what, f"partition {partition} offset {offset}")
            else:
                in_flight += 1
        return in_flight

    def _judge_matches(self) -> int:
        names = {number: campaign_id for campaign_id, number in self._campaigns.items()}
        in_flight = 0
        for pair, mark in self._pairs.items():
            problems = list(_match_problems(mark, self.whole))
            for kind, what in problems:
                self._found.add(kind, what, f"{_text(pair[:16])} {names[pair[16:]]}")
            done = mark & (LEDGER | DUPLICATE_ROW | DEAD_MATCH)
            in_flight += not done and not problems
        return in_flight

    def _judge_calls(self) -> None:
        if self._calls is None:
            return
        for delivery_id, state in self._states.items():
            if state in SENT_STATES and delivery_id not in self._took:
                what = "the ledger says sent, the provider has no such call"
                self._found.add("unexplained", what, _text(delivery_id))
        for delivery_id in self._took:
            found = self._states.get(delivery_id)
            if found not in _AFTER_SUCCESS:
                what = f"the provider took it, the ledger says {found or 'nothing'}"
                self._found.add("missing", what, _text(delivery_id))


def _completion_problems(mark: int, whole: bool) -> Iterable[tuple[str, str]]:
    if mark & CLIENT and not mark & _ACCEPTED:
        yield "missing", "a client was told it is accepted, no topic or table has it"
        return
    if not mark & _ACCEPTED:
        # Dead letters and verdicts outlive the raw topic.
        if whole and mark & _ANY_VERDICT:
            yield "unexplained", "a verdict has no completion"
        return
    if mark & ARCHIVE_DUE and not mark & (ARCHIVED | DEAD_ROW):
        yield "missing", "accepted, and not in the table of completions"
    if whole and not mark & IN_TOPIC:
        yield "unexplained", "in the table of completions, never in the topic"
    if not mark & (_ANY_VERDICT | DEAD) and (mark & VERDICT_DUE or not mark & IN_TOPIC):
        yield "missing", "accepted, without a verdict or a dead letter"
    if mark & VERDICT_ROW_DUE and not mark & (VERDICT_ROW | DEAD):
        yield "missing", "its verdict is not in the table of verdicts"


def _match_problems(mark: int, whole: bool) -> Iterable[tuple[str, str]]:
    settled = mark & (LEDGER | DUPLICATE_ROW | DEAD_MATCH)
    if mark & LEDGER and mark & DUPLICATE_ROW:
        yield "twice", "a match is both a delivery and a duplicate"
    if settled and not mark & (BY_VERDICT | MATCH):
        yield "unexplained", "a delivery or duplicate has no verdict that names it"
    if whole and mark & BY_VERDICT and mark & MATCH_DUE and not mark & (MATCH | DEAD_MATCH):
        yield "missing", "a verdict names a campaign, no match was sent on"
    if whole and mark & SPLIT_DUE and not mark & (FIRST | REPEAT | DEAD_MATCH):
        yield "missing", "a match is neither delivery nor duplicate"
    if mark & LEDGER_DUE and not settled:
        yield "missing", "a match is neither in the ledger nor among the duplicates"


def _text(id_bytes: bytes) -> str:
    return str(UUID(bytes=id_bytes))
