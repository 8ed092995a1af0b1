"""Whether the streams' queues take chunks."""

from mode.utils.queues import FlowControlEvent


class FlowControl(FlowControlEvent):
    """Empties the queues when the flow is resumed after it was stopped, and only then.

    After the recovery of a table Faust sets the positions of the streams while the flow is on, then resumes
    it once more. Its own event empties the queues each time, and what had arrived in between was never
    processed, nor anything behind it committed, until the partition moved.
    """

    def resume(self) -> None:
        """Let the flow go on, from empty queues; nothing where it is on."""
        if not self.is_active():
            super().resume()
