"""`quizstream number add|list|weights|hold|release|notices`; `number_limit.py` has the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.listing import After, Json, Limit, print_page

if TYPE_CHECKING:
    from sinks.delivery.budget.standing import Standing

number = typer.Typer(
    name="number", help="Make sender numbers, list, share out, hold and release them.", no_args_is_help=True
)

NumberId = Annotated[str, typer.Argument(help="Id of the number.")]


@number.command()
def add(
    number_id: Annotated[
        str,
        typer.Argument(
            help="As the provider names it: Meta's phone number id, UAZAPI's owner, the phone of an SMS."
        ),
    ],
    tenant: Annotated[
        str, typer.Option(help="Whose messages it sends; * sends for tenants without a number.")
    ],
    provider: Annotated[
        str, typer.Option(help="Name of the provider: meta-cloud, uazapi, evolution, twilio or smtp.")
    ],
    base_url: Annotated[str, typer.Option(help="Where the provider is called.")],
    credential: Annotated[
        str, typer.Option(help="NAME of the environment variable of the sender that holds its access token.")
    ],
    messages_per_s: Annotated[
        int | None, typer.Option(min=1, help="Its pace; without it that of topology.yaml.")
    ] = None,
    messages_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Its pace where it is slower than one a second; it wins.")
    ] = None,
    messages_per_day: Annotated[
        int | None, typer.Option(min=1, help="Of a session: its daily limit, instead of the growing one.")
    ] = None,
    coexistence: Annotated[
        bool, typer.Option("--coexistence", help="The WhatsApp Business app uses it too: 20 a second.")
    ] = False,
) -> None:
    """Make a sender number, or change it. Senders take it within seconds, where they have its credential.

    The secret itself is never stored: set the variable in the environment of `whatsapp-sender`.

    Exit codes: 0 it is there, 2 rejected (every reason is given) or not possible.

    Examples:

      quizstream number add 106540352242922 --tenant acme --provider meta-cloud \\
      --base-url https://graph.facebook.com --credential ACME_TOKEN

      quizstream number add 558185464605 --tenant acme --provider uazapi \\
      --base-url https://SUBDOMAIN.uazapi.com --credential ACME_UAZAPI_TOKEN

      quizstream number add 15005550006 --tenant acme --provider twilio \\
      --base-url https://api.twilio.com --credential ACME_TWILIO

      quizstream number add news@acme.example --tenant acme --provider smtp \\
      --base-url smtps://smtp.example.com --credential ACME_SMTP

      quizstream number add 551150010001 --tenant '*' --provider meta-cloud \\
      --base-url http://127.0.0.1:9610 --credential TEST_TOKEN --messages-per-s 20
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.numbers import NumberDraft
    from sinks.postgres.catalogue.operations import add_number
    from sinks.postgres.catalogue.webhook_keys import has_own_address
    from sinks.postgres.connect import connect

    pace = (messages_per_s, messages_per_minute, messages_per_day, coexistence)
    draft = NumberDraft(number_id, tenant, provider, base_url, credential, *pace)
    with connect(find().settings.database_url, "number") as connection:
        changed = add_number(connection, actor(), draft)
    print(f"{number_id}: {'saved' if changed else 'unchanged'}")
    print(f"It sends where the process whatsapp-sender has {credential} in its environment.")
    if has_own_address(provider):
        print(f"`quizstream number webhook {number_id}` has the address of its webhooks.")


@number.command("list")
def list_all(
    tenant: Annotated[
        str | None, typer.Option(help="Only this tenant's; * for those of all tenants.")
    ] = None,
    after: After = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List numbers by id: provider, address, state, and whether a sender holds each now.

    `share_percent`: of the tenant's contacts, as `number weights` sets it. `active` sends. `paused` and
    `quarantined` are holds of the provider, `stopped` is an operator's or the provider's: `reason` states it,
    `number release` ends them, and its contacts come back; a pause for a lost session also ends with its
    return. `stopped yes`: `stop-sending --number` is in force. `paused_until`: the end of a limit of the
    provider, for every number of its account; it ends by itself. `provider_limit`: the provider's last
    report on limit and quality of the number. `budget`: of its limit of 24 h (people of a portfolio, messages
    of a session number; `number limit`), what is counted, and when the last delivery that waits for it goes.

    Exit codes: 0 listed, 2 something could not be read.

    Example:

      quizstream number list --tenant acme
    """
    from ops.locate import find
    from sinks.delivery.budget.policy import BudgetPolicy
    from sinks.delivery.budget.standing import read_standings
    from sinks.postgres.catalogue.numbers import list_numbers
    from sinks.postgres.connect import connect
    from sinks.postgres.page import Page

    found = find()
    policy = BudgetPolicy(found.topology.sender.session_messages_per_day)
    with connect(found.settings.database_url, "number") as connection:
        page = list_numbers(connection, limit=limit, after=after, tenant_id=tenant)
        standings = read_standings(connection, policy)
    budgets = {number_id: one for one in standings for number_id in one.numbers}
    rows = [row._asdict() | _budget_of(budgets.get(row.number_id)) for row in page.items]
    columns = (
        "number_id",
        "tenant_id",
        "provider",
        "base_url",
        "credential",
        "channel",
        "share_percent",
        "state",
        "stopped",
        "leased",
        "paused_until",
        "budget",
        "provider_limit",
        "reason",
    )
    print_page(Page(rows, page.next), columns, as_json=json)


def _budget_of(standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        return {"budget": None, "budget_standing": None}
    return {"budget": str(standing), "budget_standing": standing._asdict()}


@number.command()
def weights(
    tenant: Annotated[str, typer.Argument(help="Whose numbers; * for those of tenants without a number.")],
    shares: Annotated[
        list[str],
        typer.Argument(help="NUMBER=PERCENT or PROVIDER=PERCENT, for every number; 100 together."),
    ],
    channel: Annotated[str, typer.Option(help="whatsapp, sms or email.")] = "whatsapp",
    json: Json = False,
) -> None:
    """Share a tenant's contacts out among its numbers: move to another number or provider step by step.

    Each contact keeps its number, except where a share moves. With 0, 10, 50 and 100 percent, each contact
    moves once at most. It is in force at once: deliveries that are not leased yet follow within seconds, and
    one that is being called keeps its number. A provider's percentage is divided among its numbers.

    A number with 0 sends nothing, also not for another that fails. Before the first use of this command
    numbers share by their pace. A number that is added later starts with 0.

    Exit codes: 0 the weights are in force, 2 they could not be set.

    Example, from one provider to another:

      quizstream number weights acme meta-cloud=90 uazapi=10
      quizstream number weights acme meta-cloud=50 uazapi=50
      quizstream number weights acme meta-cloud=0 uazapi=100
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery.routing.weights import parse_shares, set_weights
    from sinks.postgres.connect import connect
    from sinks.postgres.page import Page, as_mappings

    percents = parse_shares(tenant, shares)
    with connect(find().settings.database_url, "number") as connection:
        after = set_weights(connection, actor(), tenant, percents, channel)
    print_page(as_mappings(Page(after, None)), ("number_id", "provider", "share_percent"), as_json=json)


@number.command()
def hold(
    number_id: NumberId,
    reason: Annotated[str, typer.Option(help="Shown in `number list`; no personal data.")],
) -> None:
    """Hold a number: no new call is begun from it once this returns. Its deliveries wait for another number.

    Exit codes: 0 it is held, 2 there is no such number, or it could not be done.

    Example:

      quizstream number hold 106540352242922 --reason "moved to another account"
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery.stop_switch import hold_number
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "number") as connection:
        held = hold_number(connection, number_id, reason, actor())
    print(f"{number_id}: {'held' if held else 'was held already'}")


@number.command()
def release(number_id: NumberId) -> None:
    """End every hold and stop of this number: it sends again, unless its tenant has paused it.

    Exit codes: 0 it may send, 2 there is no such number, or it could not be done.

    Example:

      quizstream number release 106540352242922
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.delivery.stop_switch import release_number
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "number") as connection:
        released = release_number(connection, number_id, actor())
    print(f"{number_id}: {'released' if released else 'was not held'}")


@number.command()
def notices(
    outcome: Annotated[
        str | None, typer.Option(help="Only: held, stopped, limited, outdated or unresolved.")
    ] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List what providers reported about accounts, numbers and templates, the newest first.

    `held`: the numbers of the account were stopped. `stopped`: the campaigns with the template were.
    `limited`: shown in `number list`. `unresolved`: it leads to no number, so it is not in force; it is
    applied when a webhook of a number of that account arrives.

    Exit codes: 0 listed, 2 something could not be read.

    Example:

      quizstream number notices --outcome unresolved
    """
    from ops.locate import find
    from sinks.delivery.webhooks.notices import list_notices
    from sinks.postgres.connect import connect
    from sinks.postgres.page import Page, as_mappings

    with connect(find().settings.database_url, "number") as connection:
        found = list_notices(connection, outcome=outcome, limit=limit)
    columns = ("at", "provider", "kind", "event", "account_id", "phone", "template", "detail", "outcome")
    print_page(as_mappings(Page(found, None)), columns, as_json=json)
