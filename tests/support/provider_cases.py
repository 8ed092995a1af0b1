"""How each registered provider is reached at the simulator: a new one needs a case here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ops.simulated_instances import TWILIO_ACCOUNT, credential_of, token_of, twilio_credential
from pipeline.runtime.settings import DEVELOPMENT_ACCESS_TOKEN
from schemas.records import Message
from tests.support.sender_world import HELLO, World


@dataclass
class Case:
    """`message` may be sent to anybody from a number of the provider."""

    provider: str
    message: Message
    credential: Callable[[str], tuple[str, str]]
    """Of a number: name and value of the environment variable."""
    wrong: str = "a-token-of-no-account"
    """A secret that the provider rejects."""
    throttle: str = "throttle_number"
    """The action for too many calls."""
    env: dict[str, str] = field(default_factory=dict)

    def number(self, world: World, number_id: str, **more: Any) -> str:
        """Adds a number, with a pace at which a test need not wait."""
        name, value = self.credential(number_id)
        self.env[name] = value
        pace: dict[str, Any] = {"messages_per_s": 50, **more}
        return world.number(number_id, provider=self.provider, credential=name, **pace)


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
    raise AssertionError(f"the provider {provider} has no case: add one, so that the contract covers it")
