"""The providers that there are: the one file, besides its own package, that names a provider.

Packages are imported at the first use: the edge loads their webhooks and nothing else of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from sinks.webhook import WebhookSource

if TYPE_CHECKING:
    from sinks.provider import Provider

_PACKAGES = {
    "meta-cloud": "sinks.whatsapp.meta_cloud",
    "evolution": "sinks.whatsapp.evolution",
    "smtp": "sinks.messaging.email",
    "twilio": "sinks.messaging.sms",
    "uazapi": "sinks.whatsapp.uazapi",
}
# Names that were used before: in records of the topic, in rows, and in routes given to a provider.
FORMER_NAMES = {"whatsapp": "meta-cloud"}


class UnknownProvider(LookupError):
    """No provider is registered under this name."""


def register(name: str, package: str) -> None:
    """Adds a provider: `package` has a module `provider` with a PROVIDER and a `webhook` with a SOURCE.

    To be called before anything is looked up; a name is given once.
    """
    if name in FORMER_NAMES or _PACKAGES.setdefault(name, package) != package:
        raise ValueError(f"the provider {name} is registered already")


def names() -> tuple[str, ...]:
    """Every registered name, in alphabetical order."""
    return tuple(sorted(_PACKAGES))


def current_name(name: str) -> str:
    """The registered name for one that was used before; any other name as it is."""
    return FORMER_NAMES.get(name, name)


def provider_named(name: str) -> Provider:
    """Raises UnknownProvider. Former names are known."""
    return cast("Provider", import_module(f"{_package(name)}.provider").PROVIDER)


def webhooks_of(name: str) -> WebhookSource:
    """Raises UnknownProvider. Former names are known."""
    return cast(WebhookSource, import_module(f"{_package(name)}.webhook").SOURCE)


def _package(name: str) -> str:
    try:
        return _PACKAGES[current_name(name)]
    except KeyError:
        raise UnknownProvider(f"no provider is registered under the name {name!r}") from None
