"""Tenant, quiz, campaign and sender numbers of one measurement."""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass

from benchmarks.load.questionnaire import CHOSEN, YES, Questionnaire
from ops.locate import Deployment
from schemas.records import EVERY_TENANT, Condition, Message, Question
from sinks.postgres.catalogue import catalogue
from sinks.postgres.catalogue.catalogue import CampaignDraft, NumberDraft, QuizDraft
from sinks.postgres.connect import connect

NUMBER_LOAD_MAX = 0.6  # of a number's pace: the rest is needed to catch up after a burst
ACTIVATION_MARGIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """`run`, six hex digits, is in every id: a second run meets no row of the first."""

    run: str
    matching_percent: int
    numbers: int

    @classmethod
    def fresh(cls, found: Deployment, rate_per_s: float, matching_percent: int) -> Scene:
        """With unused ids, and with enough numbers for the messages of that rate."""
        messages = rate_per_s * matching_percent / 100
        numbers = math.ceil(messages / (found.topology.sender.messages_per_s * NUMBER_LOAD_MAX))
        return cls(secrets.token_hex(3), matching_percent, max(1, numbers))

    @property
    def tenant_id(self) -> str:
        return f"bench-{self.run}"

    @property
    def campaign_id(self) -> str:
        return f"bench-{self.run}"

    @property
    def questionnaire(self) -> Questionnaire:
        return Questionnaire(f"bench-{self.run}", self.matching_percent)

    @property
    def number_ids(self) -> list[str]:
        return [f"55{int(self.run, 16):010}{position:03}" for position in range(self.numbers)]


def plant(found: Deployment, scene: Scene) -> None:
    """Saves all of it; returns once the campaign is in force."""
    now_ms = int(time.time() * 1000)
    quiz = scene.questionnaire
    with connect(found.settings.database_url, "bench") as connection:
        catalogue.save_tenant(connection, scene.tenant_id, "Benchmark")
        questions = [Question(question_id=question) for question in quiz.questions]
        catalogue.save_quiz(
            connection, QuizDraft(quiz.quiz_id, scene.tenant_id, "Benchmark", questions), now_ms
        )
        for number_id in scene.number_ids:
            number = NumberDraft(
                number_id=number_id,
                tenant_id=scene.tenant_id,
                provider="meta-cloud",
                base_url=found.settings.simulator_url,
                credential="WHATSAPP_ACCESS_TOKEN",
            )
            catalogue.save_number(connection, number)
        catalogue.save_token(connection, catalogue.token_hash(found.settings.service_token), EVERY_TENANT)
        campaign = CampaignDraft(
            campaign_id=scene.campaign_id,
            tenant_id=scene.tenant_id,
            name="Benchmark",
            quiz_ids=[quiz.quiz_id],
            conditions=[Condition(field=f"answers.{CHOSEN}", op="eq", values=[YES])],
            message=Message(kind="template", template="obrigado", language="pt_BR"),
        )
        saved = catalogue.save_campaign(connection, campaign, found.topology.campaigns, now_ms)
    time.sleep(max(0.0, saved.effective_at / 1000 + ACTIVATION_MARGIN_S - time.time()))
