"""A step of `qualify`: one decision about one decoded completion.

A step is called with the completion, the completions of its contact that were allowed before, in the order of
decision, and the campaigns known to the batch. It returns

- `Limited(reason)`: the verdict is `limited`; the reason is in the outcome and is remembered;
- `Matched(campaigns)` or `Unmatched()`: the verdict is `matched` or `unmatched`, and the completion counts in
  the contact's windows;
- None: no decision; the next step is called. A completion that no step decides is `unmatched`.

Pure: no clock, no I/O, no state of its own; it must not change its arguments. A verdict is remembered, so a
step is not called again for a completion that was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.campaigns.registry import Campaigns
from pipeline.stages.contact_memory import Allowed
from pipeline.stages.limit import Limited
from pipeline.stages.match import Matched, Unmatched
from schemas.records import Completion

Decision = Limited | Matched | Unmatched
Step = Callable[[Completion, Sequence[Allowed], Campaigns], Decision | None]
