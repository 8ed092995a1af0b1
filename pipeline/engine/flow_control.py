"""Flow control of the streams' queues: whether they accept chunks."""

from mode.utils.queues import FlowControlEvent


class FlowControl(FlowControlEvent):
    """Empties the queues when the flow is resumed after it was stopped, and only then.

    After the recovery of a table Faust seeks the streams' partitions while the flow is on, then resumes it
    once more. Faust's own event empties the queues each time: chunks that had arrived in between were never
    processed, and nothing after them was committed, until the partition moved.
    """

    def resume(self) -> None:
        """Resume the flow with empty queues; no effect while it is on."""
        if not self.is_active():
            super().resume()
