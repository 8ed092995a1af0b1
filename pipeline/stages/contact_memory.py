"""The memory of one contact: the completions that were decided, and their verdicts.

The bytes are msgpack arrays; a field appended later, with a default, still reads older bytes.
"""

from __future__ import annotations

import msgspec

from schemas.records import MatchedCampaign


class Allowed(msgspec.Struct, frozen=True, array_like=True):
    """A completion within the windows, and the campaigns (id, version) that it matched."""

    accepted_at: int
    completion_id: str
    quiz_id: str
    offset: int
    campaigns: tuple[tuple[str, int], ...] = ()

    @property
    def matched(self) -> list[MatchedCampaign]:
        return [MatchedCampaign(campaign_id, version) for campaign_id, version in self.campaigns]


class Limited(msgspec.Struct, frozen=True, array_like=True):
    """A completion over a limit; `reason` names the full window."""

    accepted_at: int
    completion_id: str
    quiz_id: str
    offset: int
    reason: str


class ContactMemory(msgspec.Struct, array_like=True):
    """Both lists are in the order of decision. Changed in place during a batch, so never shared."""

    decided_to: int = -1  # the highest offset judged, or known to be a repeat
    allowed: list[Allowed] = []
    limited: list[Limited] = []

    def recall(self, completion_id: str) -> Allowed | Limited | None:
        for entry in reversed(self.allowed):
            if entry.completion_id == completion_id:
                return entry
        for limited in reversed(self.limited):
            if limited.completion_id == completion_id:
                return limited
        return None

    def remember(self, entry: Allowed | Limited, allowed_max: int, limited_max: int) -> None:
        """Add an entry; drop the earliest decided beyond `allowed_max` and `limited_max`."""
        self.decided_to = max(self.decided_to, entry.offset)
        if isinstance(entry, Allowed):
            self.allowed.append(entry)
            del self.allowed[:-allowed_max]
        else:
            self.limited.append(entry)
            del self.limited[:-limited_max]

    def newest_ms(self) -> int:
        """The latest acceptance remembered. The memory must not be empty."""
        allowed = [entry.accepted_at for entry in self.allowed]
        return max(allowed + [entry.accepted_at for entry in self.limited])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ContactMemory)


def encode(memory: ContactMemory) -> bytes:
    return _encoder.encode(memory)


def decode(value: bytes | None) -> ContactMemory:
    """The memory in `value`, or an empty one. Raises `msgspec.DecodeError` for foreign bytes."""
    return ContactMemory() if value is None else _decoder.decode(value)
