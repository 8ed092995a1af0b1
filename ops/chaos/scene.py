"""The data of a fault run: two tenants, each with a quiz, two overlapping campaigns and sender numbers.

The numbers of one are of the Cloud API, those of the other of UAZAPI, which has no templates.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from ops.locate import Deployment
from ops.simulated_instances import FAULT_RUN_NUMBERS, credential_of, webhook_key_of
from pipeline.runtime.settings import Settings
from schemas.records import EVERY_TENANT, Condition, Message, Question
from sinks.postgres.catalogue import catalogue
from sinks.postgres.catalogue.catalogue import CampaignDraft, NumberDraft, QuizDraft
from sinks.postgres.catalogue.numbers import MESSAGES_PER_DAY_MAX
from sinks.postgres.catalogue.webhook_keys import has_own_address, save_webhook_key
from sinks.postgres.connect import connect

TENANT_ID = "faults"
QUIZ_ID = "faults"
QUESTION = "colour"
SESSION_ID = "faults-uazapi"  # of the tenant and of the quiz whose messages UAZAPI sends
SESSION_PERCENT = 25  # of the people
NUMBERS = ("551150019001", "551150019002", "551150019003", "551150019004")
# These answers match a campaign; `blue` matches both, so that one contact gets two messages.
CAMPAIGNS = {"faults-blue": ("blue",), "faults-blue-or-green": ("blue", "green")}
SESSION_CAMPAIGNS = {"uazapi-blue": ("blue",), "uazapi-blue-or-green": ("blue", "green")}
# The rate of an API: at that of a session the deliveries of a run would not be sent by its end.
SESSION_MESSAGES_PER_S = 80
COLOURS = {"blue": 4, "green": 4, "red": 40, "white": 52}  # percent of the answers


def topology_file(home: Path, env: Mapping[str, str], trusted: str) -> Path:
    """Write the topology of a run: of this machine's addresses only the load's own are trusted."""
    given = Settings.from_env(env).topology_file
    content = yaml.safe_load(given.read_text(encoding="utf-8"))
    content["edge"]["sources"]["trusted"] = [trusted, "::1/128"]
    home.mkdir(parents=True, exist_ok=True)
    written = home / "topology.yaml"
    written.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return written


def unmatched(phone: str) -> Mapping[str, object]:
    """A completion that no campaign matches."""
    return {"contact": {"phone": phone}, "answers": {QUESTION: "white"}}


def plant(found: Deployment) -> int:
    """Create everything; return when both campaigns are in force, in ms since the epoch."""
    now_ms = int(time.time() * 1000)
    with connect(found.settings.database_url, "faults") as connection:
        for tenant_id, quiz_id in ((TENANT_ID, QUIZ_ID), (SESSION_ID, SESSION_ID)):
            catalogue.save_tenant(connection, tenant_id, "Fault run")
            draft = QuizDraft(quiz_id, tenant_id, "Fault run", [Question(question_id=QUESTION)])
            catalogue.save_quiz(connection, draft, now_ms)
        for number in numbers(found.settings.simulator_url):
            catalogue.save_number(connection, number)
            if has_own_address(number.provider):
                key = webhook_key_of(found.settings.webhook_secret, number.number_id)
                save_webhook_key(connection, number.number_id, key)
        catalogue.save_token(connection, catalogue.token_hash(found.settings.service_token), EVERY_TENANT)
        saved = [
            catalogue.save_campaign(connection, campaign, found.topology.campaigns, now_ms)
            for campaign in (
                *(campaign_of(name, colours) for name, colours in CAMPAIGNS.items()),
                *(session_campaign_of(name, colours) for name, colours in SESSION_CAMPAIGNS.items()),
            )
        ]
    return max(campaign.effective_at for campaign in saved)


def campaign_of(campaign_id: str, colours: tuple[str, ...]) -> CampaignDraft:
    return CampaignDraft(
        campaign_id=campaign_id,
        tenant_id=TENANT_ID,
        name=campaign_id,
        quiz_ids=[QUIZ_ID],
        conditions=[Condition(field=f"answers.{QUESTION}", op="one_of", values=list(colours))],
        message=Message(kind="template", template="obrigado", language="pt_BR"),
    )


def session_campaign_of(campaign_id: str, colours: tuple[str, ...]) -> CampaignDraft:
    return msgspec.structs.replace(
        campaign_of(campaign_id, colours),
        tenant_id=SESSION_ID,
        quiz_ids=[SESSION_ID],
        message=Message(kind="text", text="Obrigado pela resposta."),
    )


def numbers(simulator_url: str) -> list[NumberDraft]:
    """Those of both tenants, at the provider simulator."""
    return [
        *(
            NumberDraft(number_id, TENANT_ID, "meta-cloud", simulator_url, "WHATSAPP_ACCESS_TOKEN")
            for number_id in NUMBERS
        ),
        *(
            NumberDraft(
                number_id,
                SESSION_ID,
                "uazapi",
                simulator_url,
                credential_of(number_id),
                messages_per_s=SESSION_MESSAGES_PER_S,
                messages_per_day=MESSAGES_PER_DAY_MAX,
            )
            for number_id in FAULT_RUN_NUMBERS
        ),
    ]
