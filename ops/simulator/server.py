"""The process `simulator`: replaces the provider in the demo, and its failures in tests."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ops.simulated_instances import TWILIO_TOKEN, token_of
from ops.simulator.app import TRANSPORT, create_app
from ops.simulator.catalogue import templates
from ops.simulator.common.addresses import Addresses
from ops.simulator.common.instances import Instances
from ops.simulator.common.record import Record
from ops.simulator.common.session_answers import Words
from ops.simulator.evolution import answers as evolution
from ops.simulator.evolution.webhooks import EvolutionWebhooks
from ops.simulator.mailbox import Mailbox
from ops.simulator.send import Provider
from ops.simulator.twilio.answers import TwilioWords
from ops.simulator.twilio.webhooks import TwilioWebhooks
from ops.simulator.uazapi import answers as uazapi
from ops.simulator.uazapi.webhooks import UazapiWebhooks
from ops.simulator.webhooks import Webhooks
from pipeline.errors import exit_with_one_line
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import Settings

LOOPBACK = {"127.0.0.1", "localhost"}
SEED_VARIABLE = "QUIZSTREAM_SIMULATOR_SEED"
WEBHOOK_PATH = "/webhooks/meta-cloud"
KEEP_ALIVE_S = 30  # longer than the sender keeps an idle connection
STOP_GRACE_S = 2


class BreakableProtocol(HttpToolsProtocol):
    """Hands the connection to the application, so that a rule can break it."""

    def on_headers_complete(self) -> None:
        cast(dict[str, Any], self.scope)[TRANSPORT] = self.transport
        super().on_headers_complete()


def build(settings: Settings, rng: random.Random) -> Provider:
    """The provider of this home: its record is `simulator/calls.jsonl`."""
    webhooks = Webhooks(settings.edge_url + WEBHOOK_PATH, settings.webhook_secret, rng, clock=time.monotonic)
    record = Record(settings.home / "simulator" / "calls.jsonl")
    return Provider(
        settings.access_token,
        record,
        webhooks,
        rng,
        now=time.time,
        clock=time.monotonic,
        templates=templates(),
    )


def build_instances(
    settings: Settings, provider: Provider, rng: random.Random, env: Mapping[str, str] = os.environ
) -> dict[str, Instances]:
    """The providers with sessions, at the same address; Twilio posts none without its auth token."""
    kinds: dict[str, tuple[Words, type[UazapiWebhooks] | type[EvolutionWebhooks]]] = {
        "uazapi": (uazapi.WORDS, UazapiWebhooks),
        "evolution": (evolution.WORDS, EvolutionWebhooks),
    }
    found = {}
    for name, (words, webhooks_type) in kinds.items():
        addresses = Addresses(settings.edge_url, name, settings.webhook_secret)
        token = partial(token_of, settings.access_token)
        webhooks = webhooks_type(addresses, rng, time.monotonic, token)
        found[name] = Instances(
            words, provider, settings.access_token, webhooks, rng, now=time.time, clock=time.monotonic
        )
    auth_token = env.get(TWILIO_TOKEN)
    words_of_twilio, callbacks = TwilioWords(), None
    if auth_token:
        url = f"{settings.edge_url}/webhooks/twilio"
        callbacks = TwilioWebhooks(url, auth_token, rng, time.monotonic, words_of_twilio.opted_out)
    found["twilio"] = Instances(
        words_of_twilio,
        provider,
        auth_token or settings.access_token,
        callbacks,
        rng,
        now=time.time,
        clock=time.monotonic,
    )
    return found


def main(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    suppress_repeats()
    seed = os.environ.get(SEED_VARIABLE)
    rng = random.Random(int(seed) if seed else None)
    provider = build(settings, rng)
    instances = build_instances(settings, provider, rng)
    protocol: Any = BreakableProtocol
    mailbox = Mailbox(provider, settings.access_token, rng, now=time.time, clock=time.monotonic)
    mail = partial(mailbox.serve, settings.ports.simulator_smtp)
    config = uvicorn.Config(
        create_app(provider, instances, mail),
        # Where others reach it by another address than loopback, it listens on every interface.
        host="127.0.0.1" if urlsplit(settings.simulator_url).hostname in LOOPBACK else "0.0.0.0",
        port=settings.ports.simulator,
        http=protocol,
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn listens for it only once it runs, and raises it again when it has stopped: neither may be an
        # end without a stop, or a failure.
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run()
    provider.record.close()
    return 0 if server.started else 1


if __name__ == "__main__":
    exit_with_one_line("simulator", lambda: main(Settings.from_env()))
