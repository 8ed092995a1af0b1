"""The data of a fault run: a tenant with a quiz, two overlapping campaigns and four sender numbers."""

from __future__ import annotations

import time

from ops.deployment.seed import ANY_TENANT
from ops.locate import Deployment
from schemas.records import Condition, Message, Question
from sinks.postgres.catalogue import catalogue
from sinks.postgres.catalogue.catalogue import CampaignDraft, NumberDraft, QuizDraft
from sinks.postgres.connect import connect

TENANT_ID = "faults"
QUIZ_ID = "faults"
QUESTION = "colour"
NUMBERS = ("551150019001", "551150019002", "551150019003", "551150019004")
# These answers match a campaign; `blue` matches both, so that one contact gets two messages.
CAMPAIGNS = {"faults-blue": ("blue",), "faults-blue-or-green": ("blue", "green")}
COLOURS = {"blue": 4, "green": 4, "red": 40, "white": 52}  # percent of the answers


def plant(found: Deployment) -> int:
    """Create everything; return when both campaigns are in force, in ms since the epoch."""
    now_ms = int(time.time() * 1000)
    with connect(found.settings.database_url, "faults") as connection:
        catalogue.save_tenant(connection, TENANT_ID, "Fault run")
        draft = QuizDraft(QUIZ_ID, TENANT_ID, "Fault run", [Question(question_id=QUESTION)])
        catalogue.save_quiz(connection, draft, now_ms)
        for number_id in NUMBERS:
            number = NumberDraft(
                number_id=number_id,
                tenant_id=TENANT_ID,
                provider="meta-cloud",
                base_url=found.settings.simulator_url,
                credential="WHATSAPP_ACCESS_TOKEN",
            )
            catalogue.save_number(connection, number)
        catalogue.save_token(connection, catalogue.token_hash(found.settings.service_token), ANY_TENANT)
        saved = [
            catalogue.save_campaign(connection, campaign_of(name, colours), found.topology.campaigns, now_ms)
            for name, colours in CAMPAIGNS.items()
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
