"""The secrets that are agreed with each provider, from the environment."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.runtime.settings import Settings
from sinks.webhook import Secrets, WebhookSource


def secrets_of(source: WebhookSource, settings: Settings, env: Mapping[str, str]) -> Secrets | None:
    """None where the signing secret is not set: without it no body of this provider can be verified.

    So it is for a provider whose numbers have keys of their own.

    The Cloud API's secrets are settings, with a default for the embedded stack.
    """
    if source.signing_variable is None:
        return None
    known = {
        "WHATSAPP_APP_SECRET": settings.webhook_secret.decode(),
        "WHATSAPP_VERIFY_TOKEN": settings.webhook_verify_token,
    }
    signing = known.get(source.signing_variable) or env.get(source.signing_variable)
    if not signing:
        return None
    token_variable = source.verify_token_variable or ""
    return Secrets(signing.encode(), known.get(token_variable) or env.get(token_variable, ""))
