"""Credentials of instances at the provider simulator: generated, public, and of no other server.

An instance is selected by its token, so each number has a credential of its own.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from pipeline.runtime.settings import DEVELOPMENT_WEBHOOK_SECRET, Settings

DEMO_NUMBERS = ("551150010007", "551150010008")
FAULT_RUN_NUMBERS = ("551150019005", "551150019006")
NUMBERS = (*DEMO_NUMBERS, *FAULT_RUN_NUMBERS)
TWILIO_ACCOUNT = "AC" + "5" * 32
TWILIO_CREDENTIAL = "TWILIO_CREDENTIAL"
SMTP_CREDENTIAL = "SMTP_CREDENTIAL"
SMTP_SECRET = "SMTP_UNSUBSCRIBE_SECRET"
TWILIO_TOKEN = "TWILIO_AUTH_TOKEN"  # also of the signatures of its webhooks


def credential_of(number: str) -> str:
    """Name of the environment variable with the token of the number's instance."""
    return f"INSTANCE_TOKEN_{number}"


def webhook_key_of(webhook_secret: bytes, number: str) -> str:
    """The key in the webhook address of a number at the simulator."""
    return hmac.new(webhook_secret, f"webhooks of number {number}".encode(), hashlib.sha256).hexdigest()


def token_of(access_token: str, number: str) -> str:
    return f"{access_token}-{number}"


def twilio_credential(access_token: str) -> str:
    return f"{TWILIO_ACCOUNT}:{access_token}"


def smtp_credential(access_token: str) -> str:
    return f"quizstream:{access_token}"


def number_of(access_token: str, token: str) -> str | None:
    """The number of an instance's token; None for a token of no instance."""
    number = token.removeprefix(f"{access_token}-")
    return number if number != token and number.isdecimal() and len(number) <= 32 else None


def env_of(settings: Settings, numbers: Iterable[str] = NUMBERS) -> dict[str, str]:
    """The variables of an embedded stack; none with a webhook secret of its own, as a real deployment has."""
    if settings.webhook_secret != DEVELOPMENT_WEBHOOK_SECRET.encode():
        return {}
    tokens = {credential_of(number): token_of(settings.access_token, number) for number in numbers}
    sms = {
        TWILIO_TOKEN: settings.access_token,
        TWILIO_CREDENTIAL: twilio_credential(settings.access_token),
    }
    mail = {
        SMTP_SECRET: DEVELOPMENT_WEBHOOK_SECRET,
        SMTP_CREDENTIAL: smtp_credential(settings.access_token),
    }
    return {
        **tokens,
        **sms,
        **mail,
    }
