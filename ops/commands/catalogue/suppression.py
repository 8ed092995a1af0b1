"""`quizstream suppression add|remove|list|import|export|inbound|words`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.listing import After, Json, Limit, print_page
from ops.exits import NO

if TYPE_CHECKING:
    from sinks.postgres.connect import Connection

PROBLEMS_SHOWN_MAX = 20

suppression = typer.Typer(
    name="suppression", help="Contacts of a tenant to whom nothing is sent.", no_args_is_help=True
)

Phone = Annotated[str, typer.Argument(help="As a person writes it; +55 47 98921-1984 is read as is.")]
Tenant = Annotated[str, typer.Option(help="Whose messages the contact does not get.")]


@suppression.command()
def add(
    phone: Phone,
    tenant: Tenant,
    reason: Annotated[str, typer.Option(help="No personal data.")] = "requested by the contact",
) -> None:
    """Suppress a contact, also one that no completion came from yet: no call to it is begun from now on.

    Needs the QUIZSTREAM_CONTACT_KEY of the deployment, since only a keyed hash of the phone is stored.

    Exit codes: 0 suppressed, 2 the phone is not a phone, or it could not be done.

    Example:

      quizstream suppression add "+55 47 98921-1984" --tenant acme --reason "requested by e-mail"
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import add_suppressions
    from sinks.postgres.connect import connect

    settings = find().settings
    with connect(settings.database_url, "suppression") as connection:
        contact = _contact(connection, settings.contact_key, tenant, phone)
        new = add_suppressions(connection, actor(), tenant, [contact], reason)
    print(f"{contact}: {'suppressed' if new else 'was suppressed already'}")


@suppression.command()
def remove(
    phone: Phone,
    tenant: Tenant,
    reason: Annotated[str, typer.Option(help="Who consented, and how; no personal data.")],
) -> None:
    """Let a contact be written to again. Deliveries that ended as suppressed are not sent later.

    Exit codes: 0 removed, 1 it was not suppressed, 2 it could not be done.

    Example:

      quizstream suppression remove "+55 47 98921-1984" --tenant acme --reason "consent in ticket 4711"
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.operations import remove_suppression
    from sinks.postgres.connect import connect

    settings = find().settings
    with connect(settings.database_url, "suppression") as connection:
        contact = _contact(connection, settings.contact_key, tenant, phone)
        removed = remove_suppression(connection, actor(), tenant, contact, reason)
    print(f"{contact}: {'removed' if removed else 'was not suppressed'}")
    raise typer.Exit(0 if removed else NO)


@suppression.command("list")
def list_all(tenant: Tenant, after: After = None, limit: Limit = 50, json: Json = False) -> None:
    """List a tenant's suppressions by contact. Phones are masked, and known after a completion.

    Exit codes: 0 listed, 2 something could not be read.

    Example:

      quizstream suppression list --tenant acme
    """
    from ops.locate import find
    from schemas.phones import masked
    from sinks.postgres.catalogue.suppressions import list_suppressions
    from sinks.postgres.connect import connect
    from sinks.postgres.page import Page, as_mappings

    with connect(find().settings.database_url, "suppression") as connection:
        page = as_mappings(list_suppressions(connection, tenant, limit=limit, after=after))
    items = [{**one, "phone": None if one["phone"] is None else masked(one["phone"])} for one in page.items]
    print_page(Page(items, page.next), ("contact_id", "phone", "reason", "created_at"), as_json=json)


@suppression.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="A phone a line, or a CSV file with a column phone or contact_id.")
    ],
    tenant: Tenant,
    reason: Annotated[str, typer.Option(help="Of all of them; no personal data.")] = "imported list",
) -> None:
    """Suppress all contacts of a file. Lines without a valid phone are printed and skipped.

    An import is a decision of now: it also suppresses contacts that opted in since an earlier import.
    Files of `suppression export` are taken as they are.

    Exit codes: 0 all are suppressed, 1 some lines were left, 2 it could not be done.

    Example:

      quizstream suppression import do-not-contact.csv --tenant acme
    """
    from ops.actor import actor
    from ops.locate import find
    from ops.suppression_file import read_file
    from sinks.postgres.catalogue.operations import add_suppressions
    from sinks.postgres.catalogue.suppressions import contact_of_phone, require_key
    from sinks.postgres.connect import connect

    settings = find().settings
    with connect(settings.database_url, "suppression") as connection:
        require_key(connection, settings.contact_key, tenant)
        parsed = read_file(file, lambda written: contact_of_phone(settings.contact_key, tenant, written))
        new = add_suppressions(connection, actor(), tenant, parsed.contacts, reason)
    known = len(set(parsed.contacts)) - new
    print(f"{new:,} suppressed, {known:,} were already, {len(parsed.problems):,} lines left")
    for line, problem in parsed.problems[:PROBLEMS_SHOWN_MAX]:
        typer.echo(f"line {line}: {problem}", err=True)
    raise typer.Exit(NO if parsed.problems else 0)


@suppression.command("export")
def export(
    tenant: Tenant,
    phones: Annotated[
        bool, typer.Option("--phones", help="With phones in full, where they are known: personal data.")
    ] = False,
) -> None:
    """Print a tenant's suppressions as CSV: contact_id, reason, created_at, and phone with --phones.

    Contact ids are for deployments with the same QUIZSTREAM_CONTACT_KEY. An export with phones is recorded in
    the audit log.

    Exit codes: 0 printed, 2 something could not be read.

    Example:

      quizstream suppression export --tenant acme > suppressions.csv
    """
    import sys

    from ops.actor import actor
    from ops.locate import find
    from ops.suppression_file import write_csv
    from sinks.postgres.audit_log import record
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "suppression") as connection:
        if phones:
            record(connection, actor(), "suppression.export", tenant, phones=True)
        write_csv(connection, tenant, sys.stdout, phones=phones)


@suppression.command("inbound")
def inbound(
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="Only those that lead to no contact.")
    ] = False,
    consent: Annotated[str | None, typer.Option(help="stop, resume or perhaps.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List what people wrote and chose at providers, the newest first, without text and without the person.

    `perhaps` is a sentence with an opt-out word in it: read it at the provider and decide. An unresolved
    opt-out is applied as soon as an id of the person becomes known.

    Exit codes: 0 listed, 2 something could not be read.

    Example:

      quizstream suppression inbound --consent stop --unresolved
    """
    from ops.locate import find
    from sinks.delivery.webhooks.inbound_events import Listed, list_events
    from sinks.postgres.connect import connect
    from sinks.postgres.page import Page

    with connect(find().settings.database_url, "suppression") as connection:
        events = list_events(connection, consent=consent, unresolved=unresolved, limit=limit)
    print_page(Page([one._asdict() for one in events], None), Listed._fields, as_json=json)


@suppression.command("words")
def words(
    tenant: Tenant,
    add: Annotated[str | None, typer.Option(help="A word or phrase that opts out.")] = None,
    remove: Annotated[str | None, typer.Option(help="One of the tenant's own words.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --add: it opts in.")] = False,
    language: Annotated[str, typer.Option(help="As in pt, en, es.")] = "pt",
) -> None:
    """List or change a tenant's own opt-out words, which count beside the built-in ones.

    A message that is the word or phrase opts out; case, accents and polite words around it do not matter.

    Exit codes: 0 listed or changed, 1 there was nothing to change, 2 it could not be done.

    Example:

      quizstream suppression words --tenant acme --add "chega" --language pt
    """
    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.consent_words import add_word, list_words, remove_word
    from sinks.postgres.connect import connect

    with connect(find().settings.database_url, "suppression") as connection:
        if add is not None:
            changed = add_word(connection, actor(), tenant, language, add, "resume" if resume else "stop")
        elif remove is not None:
            changed = remove_word(connection, actor(), tenant, language, remove)
        else:
            for word in list_words(connection, tenant):
                print(f"{word.language}  {word.consent:6}  {word.phrase}")
            return
    print("changed" if changed else "nothing to change")
    raise typer.Exit(0 if changed else NO)


def _contact(connection: Connection, key: bytes, tenant: str, phone: str) -> str:
    from schemas.phones import Rejected
    from sinks.postgres.catalogue.suppressions import SuppressionRejected, contact_of_phone, require_key

    require_key(connection, key, tenant)
    contact = contact_of_phone(key, tenant, phone)
    if isinstance(contact, Rejected):
        raise SuppressionRejected("the phone", [contact.detail])
    return contact
