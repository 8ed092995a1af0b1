"""`quizstream number pair`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.catalogue.number import NumberId


def pair(
    number_id: NumberId,
    image: Annotated[
        Path | None,
        typer.Option(help="Also write each code to this file, as PNG; only its owner may read it."),
    ] = None,
    give_up_s: Annotated[
        int, typer.Option(min=10, help="End when no phone has scanned a code by then.")
    ] = 300,
) -> None:
    """Pair a session number with its phone: show the QR code until the number is connected.

    Scan it in WhatsApp under Linked devices. The code is renewed before it expires (15 s). The credential of
    the number must be in the environment of this command, under the name that `number list` shows. The
    code gives access to the session: do not paste it anywhere.

    At the end a pause for the lost session ends, where the provider's webhook reports it; a quarantine stays
    until `number release`.

    Exit codes: 0 connected, 2 not paired, or not possible.

    Example:

      quizstream number pair 558185464605 --image /tmp/pairing.png
    """
    import os
    import random
    import time

    from ops.actor import actor
    from ops.locate import find
    from ops.pairing.calls import Calls
    from ops.pairing.pair import NotPaired
    from ops.pairing.pair import pair as pair_number
    from ops.pairing.png import NotACode
    from ops.pairing.shown import as_image, in_terminal, write_image
    from pipeline.runtime.settings import Settings
    from sinks.pairing import PairingCode, pairing_of
    from sinks.postgres.audit_log import record
    from sinks.postgres.catalogue.numbers import get_number
    from sinks.postgres.connect import connect

    settings: Settings = find().settings
    with connect(settings.database_url, "number") as connection:
        number = get_number(connection, number_id)
        pairing = pairing_of(number.provider)
        if pairing is None:
            raise NotPaired(f"numbers of {number.provider} have no session that could be paired")
        credential = os.environ.get(number.credential)
        if not credential:
            raise NotPaired(f"{number.credential} is not in the environment: it is the number's access token")
        record(connection, actor(), "number.pair", number_id, tenant=number.tenant_id)

    shown: list[PairingCode] = []

    def show(code: PairingCode) -> None:
        shown.append(code)
        try:
            print(in_terminal(code), flush=True)
        except NotACode as error:
            print(f"The code cannot be shown in the terminal ({error}): use --image.", flush=True)
        if image is not None:
            write_image(image, as_image(code))

    try:
        pair_number(
            pairing,
            number_id,
            credential,
            Calls(number.base_url),
            show,
            time.monotonic,
            time.sleep,
            random.Random(),
            give_up_s,
        )
    finally:  # whoever reads this file can pair the number
        if image is not None and shown:
            image.unlink(missing_ok=True)
    print(f"{number_id}: connected")
