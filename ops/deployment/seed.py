"""Creates the demo's tenants, quizzes, campaigns, sender numbers and service token from files.

Seeding at every start is harmless: an entry that exists unchanged gets no new version, and a cancelled
campaign stays cancelled.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from ops.locate import Deployment
from ops.simulated_instances import webhook_key_of
from pipeline.errors import OperatorError
from schemas.quiz_page import Language
from schemas.records import EVERY_TENANT
from sinks.postgres.catalogue import catalogue
from sinks.postgres.catalogue.catalogue import CampaignDraft, NumberDraft, QuizDraft
from sinks.postgres.catalogue.webhook_keys import has_own_address, save_webhook_key
from sinks.postgres.connect import connect

SEEDS = Path(__file__).resolve().parents[1] / "demo" / "seeds"

T = TypeVar("T")


class TenantSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenant_id: str
    name: str
    language: Language | None = None


class NumberSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sender number; `credential` is the name of an environment variable."""

    number_id: str
    tenant_id: str
    provider: str
    credential: str
    messages_per_s: int | None = None
    messages_per_day: int | None = None


class SeedInvalid(OperatorError):
    """A seed file is not valid. The message is one line: the file, the place in it, and what is wrong."""


def seed(found: Deployment, folder: Path = SEEDS) -> int:
    """Return the time from which every campaign is in force, in ms since the epoch.

    Raises SeedInvalid for a file that cannot be read, and the catalogue's Rejection for invalid content.
    """
    settings = found.settings
    tenants = read(folder / "tenants.yaml", list[TenantSeed])
    quizzes = read(folder / "quizzes.yaml", list[QuizDraft])
    numbers = read(folder / "numbers.yaml", list[NumberSeed])
    campaigns = read(folder / "campaigns.yaml", list[CampaignDraft])
    now_ms = int(time.time() * 1000)
    with connect(settings.database_url, "seed") as connection:
        for tenant in tenants:
            catalogue.save_tenant(connection, tenant.tenant_id, tenant.name, tenant.language)
        for quiz in quizzes:
            catalogue.save_quiz(connection, quiz, now_ms)
        for number in numbers:
            is_mail = number.provider == "smtp"
            base_url = settings.simulator_smtp_url if is_mail else settings.simulator_url
            draft = NumberDraft(**msgspec.structs.asdict(number), base_url=base_url)
            catalogue.save_number(connection, draft)
            if has_own_address(draft.provider):
                key = webhook_key_of(settings.webhook_secret, draft.number_id)
                save_webhook_key(connection, draft.number_id, key)
        catalogue.save_token(connection, catalogue.token_hash(settings.service_token), EVERY_TENANT)
        saved = [
            catalogue.save_campaign(connection, campaign, found.topology.campaigns, now_ms)
            for campaign in campaigns
        ]
    return max((campaign.effective_at for campaign in saved), default=now_ms)


def read(path: Path, shape: type[T]) -> T:
    """Read a YAML file into its type. Raises SeedInvalid."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(content, shape)
    except OSError as error:
        raise SeedInvalid(f"Cannot read {path}: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        raise SeedInvalid(f"{path.name}: {error}") from error
    except yaml.YAMLError as error:
        raise SeedInvalid(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    except UnicodeDecodeError as error:
        raise SeedInvalid(f"{path} is not UTF-8: byte {error.start + 1} cannot be decoded.") from None
    except (ValueError, RecursionError) as error:
        raise SeedInvalid(f"{path.name} is not valid YAML: {error}") from None
