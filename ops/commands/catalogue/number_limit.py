"""`quizstream number show|limit|rotate-credential`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.catalogue.number import NumberId

NOTICES_READ_MAX = 500
NOTICES_SHOWN_MAX = 5


def limit(
    number_id: NumberId,
    portfolio: Annotated[
        str | None, typer.Option(help="Meta's business portfolio; without it, that of its account.")
    ] = None,
    people_max: Annotated[
        int | None, typer.Option(min=0, help="People of any 24 h, over all numbers of its portfolio.")
    ] = None,
    unlimited: Annotated[
        bool, typer.Option("--unlimited", help="End your limit; one that the provider reports stays.")
    ] = False,
    day: Annotated[
        int | None, typer.Option(min=1, help="Of a session: on which day of its growing limit it is.")
    ] = None,
) -> None:
    """Limit what a number may send in any 24 h. In force at once, in every sender.

    A number of Meta shares a limit of people with all numbers of its business portfolio. The account of a
    number is learned from its webhooks; give the same --portfolio to the numbers of several accounts of one
    portfolio. The provider reports the limit by webhook; of that one and yours the lower counts. Deliveries
    beyond it wait: `number list` shows when the last one goes, `explain` why one waits.

    A session number (uazapi, evolution) has a limit of messages that grows from its first message on
    (topology.yaml, sender.session_messages_per_day). --day is for one that was in use elsewhere before;
    `number add --messages-per-day` gives a fixed limit instead.

    Exit codes: 0 changed, 2 rejected (every reason is given) or not possible.

    Examples:

      quizstream number limit 106540352242922 --people-max 250

      quizstream number limit 106540352242923 --portfolio acme --people-max 2000

      quizstream number limit 558185464605 --day 30
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery.budget.policy import BudgetPolicy
    from sinks.delivery.budget.standing import read_standings
    from sinks.delivery.operator.limits import LimitsChange, change_limits
    from sinks.postgres.connect import connect

    found = find()
    policy = BudgetPolicy(found.topology.sender.session_messages_per_day)
    change = LimitsChange(portfolio, people_max, unlimited, day)
    with connect(found.settings.database_url, "number") as connection:
        change_limits(connection, actor(), number_id, change, policy)
        standings = [one for one in read_standings(connection, policy) if number_id in one.numbers]
    for one in standings:
        print(f"{one.budget_id}: {one}")


def show(
    number_id: NumberId,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a number: state and reason, pace, budget of 24 h, and what the provider reported last about it.

    `budget`: what is counted of its limit, how many deliveries wait for it, and when the last one goes.

    Exit codes: 0 shown, 2 there is no such number, or something could not be read.

    Example:

      quizstream number show 106540352242922
    """
    import msgspec

    from ops.commands.listing import text_of
    from ops.locate import find
    from sinks.delivery.budget.policy import BudgetPolicy
    from sinks.delivery.budget.standing import read_standings
    from sinks.delivery.webhooks.notices import list_notices
    from sinks.postgres.catalogue.numbers import get_number
    from sinks.postgres.connect import connect

    found = find()
    policy = BudgetPolicy(found.topology.sender.session_messages_per_day)
    with connect(found.settings.database_url, "number") as connection:
        row = get_number(connection, number_id)
        standings = [one for one in read_standings(connection, policy) if number_id in one.numbers]
        notices = [
            notice
            for notice in list_notices(connection, outcome=None, limit=NOTICES_READ_MAX)
            if number_id == notice.number_id or (row.account_id and row.account_id == notice.account_id)
        ][:NOTICES_SHOWN_MAX]
    if json:
        shown = {
            **row._asdict(),
            "budgets": [one._asdict() for one in standings],
            "notices": [notice._asdict() for notice in notices],
        }
        print(msgspec.json.encode(shown).decode())
        return
    for name, value in row._asdict().items():
        print(f"{name:20} {text_of(value)}")
    for one in standings:
        print(f"{'budget':20} {one.budget_id}: {one}")
    for notice in notices:
        about = " ".join(part for part in (notice.kind, notice.event, notice.detail) if part)
        print(f"{'notice':20} {notice.at:%Y-%m-%dT%H:%M:%SZ} {about}")


def rotate_credential(
    number_id: NumberId,
    credential: Annotated[
        str, typer.Option(help="NAME of the environment variable with the new access token.")
    ],
) -> None:
    """Let a number use another access token: that of the environment variable with this name.

    First set the new variable for `whatsapp-sender` and restart it; then run this. Calls in flight end with
    the old token. `leased yes` in `number list` shows that a sender has the new one; until then the
    deliveries wait. At last, revoke the old token at the provider.

    For a new value under the same name a restart is enough.

    Exit codes: 0 changed, 2 rejected or no such number.

    Example:

      quizstream number rotate-credential 106540352242922 --credential ACME_TOKEN_2
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import change_credential
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "number") as connection:
        changed = change_credential(connection, actor(), number_id, credential)
    print(f"{number_id}: {'changed' if changed else 'unchanged'}")
