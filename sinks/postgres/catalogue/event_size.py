"""How large the event of a saved object may be: one that its topic does not take would never be published."""

from __future__ import annotations

from pipeline.runtime.kafka_clients import RECORD_OVERHEAD_BYTES
from pipeline.topology.model import Topic

GROWTH_BYTES_MAX = 4096  # of a later version that only ends the object
EVENT_BYTES_MAX = (
    1_048_576 - RECORD_OVERHEAD_BYTES - GROWTH_BYTES_MAX
)  # where a topic has no limit of its own


def event_bytes_max(topic: Topic) -> int:
    """The largest key and value, before compression, of an event that may be saved for the topic."""
    return topic.record_bytes_max - RECORD_OVERHEAD_BYTES - GROWTH_BYTES_MAX


def too_large(key: bytes, value: bytes, bytes_max: int) -> list[str]:
    """Return the problem, if there is one."""
    size = len(key) + len(value)
    if size <= bytes_max:
        return []
    return [f"its event would have {size:,} bytes; at most {bytes_max:,} are possible: shorten its texts"]
