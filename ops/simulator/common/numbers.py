"""Every number of the simulated provider, in one place. Sources: docs/providers.md."""

from __future__ import annotations

import msgspec

MESSAGES_PER_S = 80  # of a sending number, over a sliding second
PAIR_INTERVAL_S = 6.0  # of a (number, recipient)
PAIR_BURST = 45
DAY_S = 86_400.0
WINDOW_S = DAY_S  # after a person's message to a number: what is no template may be sent to them from it
PORTFOLIO_WINDOW_S = DAY_S  # of the people that all numbers together have written to outside of a window
TEXT_CHARS_MAX = 4096
CAPTION_CHARS_MAX = 1024
PARAMETER_CHARS_MAX = 1024
CALLBACK_CHARS_MAX = 512
BODY_BYTES_MAX = 65_536

BODIES_KEPT_MAX = 200  # last messages, for whoever wants to look at one
PAIRS_KEPT_MAX = 100_000
WINDOWS_KEPT_MAX = 100_000
RULES_MAX = 1_000
WEBHOOKS_PENDING_MAX = 200_000
CALLS_PAGE_MAX = 10_000

WEBHOOK_BATCH_MAX = 50  # statuses in one POST
WEBHOOK_POSTS_AT_ONCE = 4
WEBHOOK_TIMEOUT_S = 10.0
WEBHOOK_RETRY_BASE_S = 0.5
WEBHOOK_RETRY_MAX_S = 15.0
WEBHOOK_GIVE_UP_S = 600.0  # the real provider goes on for seven days


class Behaviour(msgspec.Struct, frozen=True):
    """What may be changed while it runs (`PATCH /simulator/behaviour`). Delays are upper ends, from 0,
    uniform.
    """

    reply_delay_s: float = 0.0
    sent_delay_s: float = 0.05
    delivered_delay_s: float = 0.2
    read_delay_s: float = 0.5
    read_ratio: float = 0.6
    delivered_skipped_ratio: float = 0.05  # of those that are read: `read` comes without `delivered`
    duplicate_ratio: float = 0.02  # of statuses: said twice
    webhooks: bool = True
    messages_per_s: int = MESSAGES_PER_S
    pair_interval_s: float = PAIR_INTERVAL_S
    pair_burst: int = PAIR_BURST
    session_messages_per_minute: int | None = None  # of a number of UAZAPI; more are answered with 429
    ban_strictness: float = 0.0  # of the rules of bans.py for sessions: 1.0 as they are, 2.0 twice as strict
    find_after_s: float = 0.0  # a message of UAZAPI is found from so long after it was sent
    portfolio_people_max: int | None = None  # 250, 2,000, 10,000 or 100,000; None: the unlimited tier
