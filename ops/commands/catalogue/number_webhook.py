"""`quizstream number webhook`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.catalogue.number import NumberId

OVERLAP_MIN_DEFAULT = 60


def webhook(
    number_id: NumberId,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new key, and print the address with it, once.")
    ] = False,
    overlap_min: Annotated[
        int, typer.Option(min=0, max=10_080, help="With --rotate: the key before is accepted for so long.")
    ] = OVERLAP_MIN_DEFAULT,
) -> None:
    """Show where a session number's webhooks go; or give it another key, which edges take within a second.

    Providers without signatures (uazapi, evolution) have an address for each number, with a key of its own.
    Only its hash is stored, so an address that is lost needs a new key. Register the address that is printed
    at the number's instance. With --overlap-min 0 the key before is rejected at once.

    Exit codes: 0 shown or changed, 2 rejected or no such number.

    Examples:

      quizstream number webhook 558185464605

      quizstream number webhook 558185464605 --rotate --overlap-min 0
    """
    import secrets
    import time
    from datetime import UTC, datetime
    from urllib.parse import quote

    from ops.actor import actor
    from ops.locate import find
    from sinks.postgres.catalogue.webhook_keys import read_key, rotate_webhook_key
    from sinks.postgres.connect import connect

    settings = find().settings
    now_ms = int(time.time() * 1000)
    key = None
    with connect(settings.database_url, "number") as connection:
        if rotate:
            key = rotate_webhook_key(
                connection,
                actor(),
                number_id,
                overlap_ms=overlap_min * 60_000,
                now_ms=now_ms,
                random_text=secrets.token_urlsafe,
            )
        standing = read_key(connection, number_id, now_ms)
    address = f"{settings.edge_url.rstrip('/')}/webhooks/{standing.provider}/{quote(number_id)}"
    if key is not None:
        print(f"{address}?key={key}")
    elif standing.changed_at is None:
        print(f"{address}: no key yet, its webhooks are rejected; --rotate makes one")
    else:
        print(f"{address}?key=... since {standing.changed_at:%Y-%m-%dT%H:%M:%SZ}; --rotate makes another key")
    if standing.former_until is not None:
        until = datetime.fromtimestamp(standing.former_until / 1000, UTC)
        print(f"The key before is accepted until {until:%Y-%m-%dT%H:%M:%SZ}.")
