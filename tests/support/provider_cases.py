"""How each registered provider is reached at the simulator: a new one needs a case here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ops.simulated_instances import (
    SMTP_SECRET,
    TWILIO_ACCOUNT,
    credential_of,
    smtp_credential,
    token_of,
    twilio_credential,
)
from pipeline.runtime.settings import DEVELOPMENT_ACCESS_TOKEN
from schemas.records import Channel, Message
from sinks.providers import provider_named
from tests.support.sender_world import HELLO, World, email_of


@dataclass
class Case:
    """`message` may be sent to anybody from a number of the provider."""

    provider: str
    message: Message
    credential: Callable[[str], tuple[str, str]]
    """Of a number: name and value of the environment variable."""
    wrong: str = "a-token-of-no-account"
    """A secret that the provider rejects."""
    address: Callable[[str], str] = str
    """Of a phone without plus: where the provider's record has the message go to."""
    id_of: Callable[[str], str] = str
    """Of a number's digits: its id."""
    throttled: int = 429
    """The status of a rejection for too many calls."""
    throttle: str = "throttle_number"
    """The action for too many calls."""
    env: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    """What every sender needs in its environment."""

    @property
    def channel(self) -> Channel:
        return provider_named(self.provider).channel

    def number(self, world: World, number_id: str, **more: Any) -> str:
        """Adds a number, with a pace at which a test need not wait."""
        name, value = self.credential(number_id)
        self.env[name] = value
        pace: dict[str, Any] = {"messages_per_s": 50, "channel": self.channel, **more}
        if self.provider == "smtp":
            pace["base_url"] = world.simulator_smtp_url
        return world.number(self.id_of(number_id), provider=self.provider, credential=name, **pace)


def case_of(provider: str) -> Case:
    match provider:
        case "meta-cloud":
            return Case(
                provider,
                HELLO,
                lambda number: (f"META_TOKEN_{number}", DEVELOPMENT_ACCESS_TOKEN),
            )
        case "uazapi" | "evolution":
            return Case(
                provider,
                Message(kind="text", text="oi"),
                lambda number: (credential_of(number), token_of(DEVELOPMENT_ACCESS_TOKEN, number)),
            )
        case "twilio":
            return Case(
                provider,
                Message(kind="text", text="oi"),
                lambda number: (f"TWILIO_{number}", twilio_credential(DEVELOPMENT_ACCESS_TOKEN)),
                wrong=f"{TWILIO_ACCOUNT}:a-token-of-no-account",
                throttle="throttle_account",
            )
        case "smtp":
            return Case(
                provider,
                Message(kind="text", text="oi", subject="Olá"),
                lambda number: (f"SMTP_{number}", smtp_credential(DEVELOPMENT_ACCESS_TOKEN)),
                wrong="quizstream:a-token-of-no-account",
                address=email_of,
                id_of=lambda number: f"n{number}@acme.example",
                throttled=421,
                shared={SMTP_SECRET: "secret"},
            )
    raise AssertionError(f"the provider {provider} has no case: add one, so that the contract covers it")
