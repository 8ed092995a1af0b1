"""The ledger audit: checks by id that every accepted completion, match and delivery is accounted for.

Pure: `ops.audit.collect` reads topics, tables and the provider's record and adds what it finds; `judge`
returns the laws that do not hold. There is one dictionary entry per id or pair, however many places have it,
so that a million completions fit in a few hundred megabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

import msgspec

from sinks.delivery.state import ACCEPTED, OPEN, DeliveryState

EXAMPLES_MAX = 20

# Flags of a completion.
IN_TOPIC = 1  # it is in the raw topic
ARCHIVED = 2  # it is in the table of completions
LIMITED = 4
UNMATCHED = 8
MATCHED = 16
VERDICT_ROW = 32  # it is in the table of verdicts
DEAD = 64  # a dead letter instead of a verdict
DEAD_ROW = 128  # a dead letter instead of a row in the archive
CLIENT = 256  # a client received a 202 for it
ARCHIVE_DUE = 512  # the sink has processed it
VERDICT_DUE = 1024  # the stage has processed it
VERDICT_ROW_DUE = 2048  # the sink has processed its verdict

VERDICTS = {"limited": LIMITED, "unmatched": UNMATCHED, "matched": MATCHED}
_ANY_VERDICT = LIMITED | UNMATCHED | MATCHED
_ACCEPTED = IN_TOPIC | ARCHIVED

# Flags of a match: a pair of a completion and a campaign.
BY_VERDICT = 1  # the completion's verdict names the campaign
MATCH = 2  # it is in the topic of matches
FIRST = 4  # it is in the topic of deliveries
REPEAT = 8  # it is in the topic of duplicates
LEDGER = 16
DUPLICATE_ROW = 32
DEAD_MATCH = 64
MATCH_DUE = 128  # qualify has processed its completion
SPLIT_DUE = 256  # dedup has processed it
LEDGER_DUE = 512  # the sink has processed it

RESOLVED_NOT_SENT = "resolved_not_sent"
TAKEN_BACK = "taken_back"  # accepted, and then reported as failed by a webhook: repeated
MAYBE_SENT = frozenset({"sent", "ambiguous", "resolved_sent"})  # outcomes of calls

SENT_STATES: frozenset[str] = frozenset(ACCEPTED)
DELIVERED_STATES: frozenset[str] = frozenset({DeliveryState.DELIVERED, DeliveryState.READ})
WAITING_STATES: frozenset[str] = frozenset(OPEN)
# The possible states of a delivery after a call that the provider accepted.
_AFTER_SUCCESS = SENT_STATES | {DeliveryState.CALLING, DeliveryState.AMBIGUOUS, DeliveryState.FAILED}


class Breach(msgspec.Struct, frozen=True):
    """A law that does not hold. `kind`: missing, twice, or unexplained (present without a cause)."""

    kind: str
    what: str
    count: int
    examples: list[str]


class Report(msgspec.Struct, frozen=True):
    """The result of an audit. All figures are numbers of ids, not of records.

    - `ok`: no law is broken.
    - `dead`: completions with a dead letter instead of a verdict.
    - `dead_deliveries`: ledger rows in state dead.
    - `dead_webhooks`: webhooks in the dead letters: their statuses and opt-outs are not applied.
    - `in_flight`: ids that some stage or sink has not processed yet.
    - `calls`: calls in the provider's record; None if the provider has no record.
    - `unrecorded`: deliveries called at a provider without a record; only their attempts are judged.
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
    unrecorded: int
    breaches: list[Breach]
    dead_webhooks: int = 0


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


class LedgerAudit:
    """Collects ids, then judges them.

    `whole`: the topics still hold their first records, so that an id in no topic was never accepted.
    """

    def __init__(self, whole: bool = True) -> None:
        self.whole = whole
        self._ids: dict[bytes, int] = {}
        self._pairs: dict[bytes, int] = {}
        self._campaigns: dict[str, bytes] = {}
        self._dead_positions: set[tuple[int, int]] = set()
        self._undecodable: dict[tuple[int, int], bool] = {}
        self._dead_webhooks: set[tuple[int, int]] = set()
        self._states: dict[bytes, str] = {}
        self._attempts: dict[bytes, bytes] = {}
        self._called: dict[bytes, bool] = {}  # delivery -> whether a call may have produced a message
        self._took: set[bytes] = set()  # deliveries that the provider accepted
        self._maybe_sent: set[bytes] = set()  # deliveries with an ended call that may have produced a message
        self._resolved: set[bytes] = set()  # attempts that an operator found not sent at the provider
        self._taken_back: set[bytes] = set()  # attempts that a status webhook reported as failed
        self._unrecorded: set[bytes] = set()  # deliveries with a call that no record can show
        self._nameless: set[bytes] = set()  # sent deliveries without the provider's id of a message
        self._calls: int | None = None
        self._found = _Found()

    def dead_webhook(self, partition: int, offset: int) -> None:
        """Add a webhook that is in the dead letters and of which no redriven copy was processed."""
        self._dead_webhooks.add((partition, offset))

    def completion(self, completion_id: bytes, flags: int) -> None:
        """Add flags of a completion, by the 16 bytes of its id."""
        self._ids[completion_id] = self._ids.get(completion_id, 0) | flags

    def archive_row(self, completion_id: bytes) -> None:
        if self._ids.get(completion_id, 0) & ARCHIVED:
            self._found.add("twice", "a completion has two rows", _text(completion_id))
        self.completion(completion_id, ARCHIVED)

    def verdict(self, completion_id: bytes, verdict: str, flags: int = 0) -> None:
        flag = VERDICTS[verdict]
        known = self._ids.get(completion_id, 0)
        if known & _ANY_VERDICT & ~flag:
            self._found.add("twice", "a completion has two different verdicts", _text(completion_id))
        if known & VERDICT_ROW and flags & VERDICT_ROW:
            self._found.add("twice", "a completion has two rows of verdicts", _text(completion_id))
        self.completion(completion_id, flag | flags)

    def undecodable(self, partition: int, offset: int, due: bool) -> None:
        """Add an undecodable record of the raw topic. `due`: the stage has processed it."""
        self._undecodable[partition, offset] = due

    def dead_position(self, partition: int, offset: int) -> None:
        """Add a dead letter for this offset of the raw topic."""
        self._dead_positions.add((partition, offset))

    def match(self, completion_id: bytes, campaign_id: str, flags: int) -> None:
        number = self._campaigns.setdefault(campaign_id, len(self._campaigns).to_bytes(4, "big"))
        pair = completion_id + number
        self._pairs[pair] = self._pairs.get(pair, 0) | flags

    def delivery(self, delivery_id: bytes, state: str, has_message: bool = True) -> None:
        """`has_message`: the ledger has the provider's id of its message."""
        self._states[delivery_id] = state
        if state in SENT_STATES and not has_message:
            self._nameless.add(delivery_id)

    def attempt(
        self, attempt_id: bytes, delivery_id: bytes, outcome: str | None = None, has_record: bool = True
    ) -> None:
        """`outcome` as the ledger has it, None where the call has no end yet.

        `has_record`: its provider keeps a record that is read. Else the ledger's own certainty must do.
        """
        self._attempts[attempt_id] = delivery_id
        if not has_record:
            self._unrecorded.add(delivery_id)
        if outcome == RESOLVED_NOT_SENT:
            self._resolved.add(attempt_id)
        elif outcome == TAKEN_BACK:
            self._taken_back.add(attempt_id)
        elif outcome in MAYBE_SENT:
            if delivery_id in self._maybe_sent:
                what = "a delivery has two calls that may have been sent"
                self._found.add("twice", what, _text(delivery_id))
            self._maybe_sent.add(delivery_id)

    def provider_keeps_a_record(self) -> None:
        self._calls = self._calls or 0

    def call(
        self,
        attempt_id: bytes | None,
        taken: bool,
        certainly_not_sent: bool,
        after_the_tables: bool = False,
    ) -> None:
        """Add a call of the provider's record, in the record's order.

        - `taken`: the provider gave the message an id.
        - `after_the_tables`: it was made after the tables were read, so they may not have its attempt.
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
        # An operator's word counts only where the record does not contradict it.
        taken_back = attempt_id in self._taken_back
        not_sent = certainly_not_sent or taken_back or (not taken and attempt_id in self._resolved)
        self._called[delivery_id] = self._called.get(delivery_id, False) or not not_sent
        if taken and not taken_back and not after_the_tables:
            self._took.add(delivery_id)

    def judge(self, still_moving: str = "") -> Report:
        """Return the report; call it once, after everything was added.

        `still_moving`: what was not finished when the wait for it timed out; it counts as a breach.
        """
        in_flight = self._judge_completions() + self._judge_matches()
        self._judge_calls()
        if still_moving:
            self._found.add("missing", "not settled in time", still_moving)
        breaches = self._found.listed()
        flags = Counter(self._ids.values())
        dead = self._sum(flags, _ACCEPTED, lambda flag: flag & DEAD and not flag & _ANY_VERDICT)
        states = Counter(self._states.values())
        return Report(
            accepted=self._sum(flags, _ACCEPTED) + len(self._undecodable),
            archived=self._sum(flags, ARCHIVED),
            limited=self._sum(flags, LIMITED),
            unmatched=self._sum(flags, UNMATCHED),
            matched=self._sum(flags, MATCHED),
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
            unrecorded=len(self._unrecorded),
            breaches=breaches,
            dead_webhooks=len(self._dead_webhooks),
        )

    @staticmethod
    def _sum(flags: Counter[int], any_of: int, also: object = None) -> int:
        return sum(
            count for flag, count in flags.items() if flag & any_of and (not callable(also) or also(flag))
        )

    def _judge_completions(self) -> int:
        in_flight = 0
        for completion_id, flag in self._ids.items():
            problems = list(_completion_problems(flag, self.whole))
            for kind, what in problems:
                self._found.add(kind, what, _text(completion_id))
            done = flag & (ARCHIVED | DEAD_ROW) and flag & (_ANY_VERDICT | DEAD)
            in_flight += not done and not problems
        for (partition, offset), due in self._undecodable.items():
            if (partition, offset) in self._dead_positions:
                continue
            if due:
                what = "an undecodable record has no dead letter"
                self._found.add("missing", what, f"partition {partition} offset {offset}")
            else:
                in_flight += 1
        return in_flight

    def _judge_matches(self) -> int:
        names = {number: campaign_id for campaign_id, number in self._campaigns.items()}
        in_flight = 0
        for pair, flag in self._pairs.items():
            problems = list(_match_problems(flag, self.whole))
            for kind, what in problems:
                self._found.add(kind, what, f"{_text(pair[:16])} {names[pair[16:]]}")
            done = flag & (LEDGER | DUPLICATE_ROW | DEAD_MATCH)
            in_flight += not done and not problems
        return in_flight

    def _judge_calls(self) -> None:
        for delivery_id in self._nameless & self._unrecorded - self._maybe_sent:
            what = "the ledger state is sent, none of its calls can have been sent"
            self._found.add("unexplained", what, _text(delivery_id))
        if self._calls is None:
            return
        explained = self._took | self._unrecorded if self._unrecorded else self._took
        for delivery_id, state in self._states.items():
            if state in SENT_STATES and delivery_id not in explained:
                what = "the ledger state is sent, the provider has no such call"
                self._found.add("unexplained", what, _text(delivery_id))
        for delivery_id in self._took:
            found = self._states.get(delivery_id)
            if found not in _AFTER_SUCCESS:
                what = f"the provider accepted it, the ledger state is {found or 'absent'}"
                self._found.add("missing", what, _text(delivery_id))


def _completion_problems(flag: int, whole: bool) -> Iterable[tuple[str, str]]:
    if flag & CLIENT and not flag & _ACCEPTED:
        yield "missing", "a client received a 202 for it, no topic or table has it"
        return
    if not flag & _ACCEPTED:
        # Dead letters and verdicts outlive the raw topic.
        if whole and flag & _ANY_VERDICT:
            yield "unexplained", "a verdict has no completion"
        return
    if flag & ARCHIVE_DUE and not flag & (ARCHIVED | DEAD_ROW):
        yield "missing", "accepted, and not in the table of completions"
    if whole and not flag & IN_TOPIC:
        yield "unexplained", "in the table of completions, never in the topic"
    if not flag & (_ANY_VERDICT | DEAD) and (flag & VERDICT_DUE or not flag & IN_TOPIC):
        yield "missing", "accepted, without a verdict or a dead letter"
    if flag & VERDICT_ROW_DUE and not flag & (VERDICT_ROW | DEAD):
        yield "missing", "its verdict is not in the table of verdicts"


def _match_problems(flag: int, whole: bool) -> Iterable[tuple[str, str]]:
    settled = flag & (LEDGER | DUPLICATE_ROW | DEAD_MATCH)
    if flag & LEDGER and flag & DUPLICATE_ROW:
        yield "twice", "a match is both a delivery and a duplicate"
    if settled and not flag & (BY_VERDICT | MATCH):
        yield "unexplained", "a delivery or duplicate has no verdict that names it"
    if whole and flag & BY_VERDICT and flag & MATCH_DUE and not flag & (MATCH | DEAD_MATCH):
        yield "missing", "a verdict names a campaign, no match was published"
    if whole and flag & SPLIT_DUE and not flag & (FIRST | REPEAT | DEAD_MATCH):
        yield "missing", "a match is neither delivery nor duplicate"
    if flag & LEDGER_DUE and not settled:
        yield "missing", "a match is neither in the ledger nor among the duplicates"


def _text(id_bytes: bytes) -> str:
    return str(UUID(bytes=id_bytes))
