"""The verdicts that this process has, looked up by every request."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

from ingest_api.abuse.metrics import VERDICTS, VERDICTS_FORGOTTEN, VERDICTS_KEPT
from pipeline.abuse.states import Cause, Kind, State, Verdict, stricter
from pipeline.topology.file import Abuse


class Table:
    """`now_ms` as in Verdict. Without a verdict in force a look-up is one test.

    At most `verdicts_max` automatic ones: the one that changed longest ago is forgotten.
    """

    def __init__(self, limits: Abuse, now_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._now_ms = now_ms
        self._in_force: dict[str, Verdict] = {}
        self._known: OrderedDict[str, Verdict] = OrderedDict()  # the last changed at its end

    @property
    def is_empty(self) -> bool:
        return not self._in_force

    def known(self, subject: str) -> Verdict | None:
        """Return the last verdict, in force or not."""
        return self._known.get(subject)

    def strictest(self, address: str, network: str, quiz: str) -> Verdict | None:
        """Return the strictest verdict in force of the three; a released address has none."""
        now_ms = self._now_ms()
        strictest: Verdict | None = None
        for subject in (address, network, quiz):
            found = self._in_force.get(subject)
            if found is None or now_ms >= found.until_ms:
                continue
            if found.state is State.RELEASED:
                if subject is address:
                    return None
                continue
            if not found.passed_by_tickets:
                return found
            if strictest is None or stricter(strictest.state, found.state) is not strictest.state:
                strictest = found
        return strictest

    def apply(self, subject: str, verdict: Verdict | None) -> None:
        if verdict is None:
            self._known.pop(subject, None)
            self._in_force.pop(subject, None)
            return
        self._known[subject] = verdict
        self._known.move_to_end(subject)
        if len(self._known) > self._limits.verdicts_max:
            self._forget_oldest()
        if verdict.state_at(self._now_ms()) is State.CLEAR:
            self._in_force.pop(subject, None)
        else:
            self._in_force[subject] = verdict

    def _forget_oldest(self) -> None:
        """What an operator decided stays, whatever is decided automatically."""
        oldest = next((name for name, one in self._known.items() if one.cause is not Cause.OPERATOR), None)
        if oldest is not None:
            del self._known[oldest]
            self._in_force.pop(oldest, None)
            VERDICTS_FORGOTTEN.inc()

    def active(self) -> list[Verdict]:
        return list(self._in_force.values())

    def expire(self) -> None:
        """Forget what has ended, and count what is in force."""
        now_ms = self._now_ms()
        for subject, verdict in list(self._in_force.items()):
            if now_ms >= verdict.until_ms:
                del self._in_force[subject]
        if len(self._known) > len(self._in_force):
            for subject, verdict in list(self._known.items()):
                if now_ms >= verdict.kept_until_ms(self._limits):
                    del self._known[subject]
        VERDICTS_KEPT.set(len(self._known))
        counts = Counter((verdict.kind, verdict.state) for verdict in self._in_force.values())
        for kind in Kind:
            for state in State:
                if state is not State.CLEAR:
                    VERDICTS.labels(kind.value, state.value).set(counts[kind, state])
