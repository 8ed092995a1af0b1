"""Walks along the links of the document: an object from its creation to its end, each answer as described."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis import Case, GenerationMode, Response, checks
from schemathesis.specs.openapi.checks import ensure_resource_availability, use_after_free

from ingest_api.tenants.api.openapi import document
from ingest_api.tenants.resources.every import OPERATIONS
from sinks.postgres.catalogue.webhooks.endpoints import hold_endpoint
from sinks.postgres.connect import connect
from tests.support.tenant_api import TenantApi, signed

OF_PLATFORM = {one.name for one in OPERATIONS if one.permission == "platform"}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    use_after_free,
    ensure_resource_availability,
]
QUIZ = {"title": "Feedback", "questions": [{"question_id": "q1", "text": "How was it?"}]}
MESSAGE = {"kind": "text", "text": "Hello"}
PASSWORD: dict[str, Any] = {"password": "correct horse battery"}
NUMBER = {"provider": "meta-cloud", "base_url": "https://graph.facebook.com", "credential": "WALK_TOKEN"}
SPOILT_EVERY = 5  # bodies that stay as they were generated, which are rarely accepted
FAILED_MESSAGE = """
INSERT INTO webhook_messages
    (message_id, tenant_id, endpoint_id, delivery_id, sequence, kind, content, state, ended_at)
VALUES (%s, %s, %s, gen_random_uuid(), 1, 'delivery.sent', '{}', 'failed', clock_timestamp())
"""
TENANT_NUMBERS = itertools.count()

EXAMPLES, STEPS = 25, 12
# A round has each walk more often than not: which links are followed is drawn, with the round as seed.
# Without one Hypothesis draws the same in each round in CI.
ROUNDS_MAX = 12

# By beginning of the path: operations that walks must have done, in this order, with one object.
WALKS = {
    "/v1/webhooks": [["createWebhook", "readWebhook", "changeWebhook", "deleteWebhook"]],
    "/v1/webhook-messages": [["listWebhookMessages", "redeliverWebhookMessage"]],
    "/v1/quizzes": [["createQuiz", "readQuiz", "replaceQuiz"]],
    "/v1/campaigns": [
        ["createCampaign", "replaceCampaign", "cancelCampaign"],
        ["createCampaign", "readCampaign", "pauseCampaign"],
    ],
    "/v1/users": [
        ["createUser", "readUser", "changeUser"],
        ["createUser", "disableUser", "enableUser"],
        ["createUser", "readUser", "setPassword"],
    ],
    "/v1/api-keys": [["createApiKey", "rotateApiKey", "revokeApiKey"]],
}


class Walked:
    """What happened in all walks of one test."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.of_object: dict[str, list[str]] = {}

    def has(self, walk: list[str]) -> bool:
        return any(_in_order(walk, names) for names in self.of_object.values())


def _in_order(walk: list[str], names: list[str]) -> bool:
    left = iter(names)
    return all(name in left for name in walk)


def machine_of(api: TenantApi, schema: Any, walked: Walked) -> Any:
    """Each walk is of a tenant of its own, with a quiz, a number and a message that has failed."""

    class Machine(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.calls = itertools.count(1)
            number = next(TENANT_NUMBERS)
            self.tenant, self.number = f"walk{number}", str(660_000 + number)
            platform, named = signed("*", "platform"), {"quizstream-tenant": self.tenant}
            path = f"/v1/tenants/{self.tenant}"
            assert api.ask(platform, "PUT", path, {"name": "Walk"}).status == 200
            content = NUMBER | {"number_id": self.number, "tenant_id": self.tenant}
            assert api.ask(platform, "PUT", f"/v1/numbers/{self.number}", content, named).status == 200
            quiz = api.ask(signed(self.tenant), "POST", "/v1/quizzes", QUIZ)
            self.quiz = quiz.json["quiz_id"]
            self._fail_a_message()

        def before_call(self, case: Case[Any]) -> None:
            name = case.operation.definition.raw["operationId"]
            if isinstance(case.body, dict) and next(self.calls) % SPOILT_EVERY:
                case.body = self._accepted(name, case.body)
            if name in OF_PLATFORM:
                case.path_parameters["id"] = self.number if "umber" in name else self.tenant

        def _accepted(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
            url = f"https://hooks.example.com/{next(TENANT_NUMBERS)}"
            accepted: dict[str, dict[str, Any]] = {
                "createWebhook": {"url": url, "description": "of a walk"},
                "changeWebhook": {"url": url, "enabled": body.get("enabled") is not False},
                "rotateWebhookSecret": {"overlap_s": 60},
                "createQuiz": QUIZ,
                "replaceQuiz": QUIZ,
                "createCampaign": {"name": "Club", "quiz_ids": [self.quiz], "message": MESSAGE},
                "replaceCampaign": {"name": "Club 2", "quiz_ids": [self.quiz], "message": MESSAGE},
                "createApiKey": {"name": "walk"},
                "createUser": PASSWORD
                | {"email": f"{next(TENANT_NUMBERS)}@example.com", "role": body.get("role")},
                "setPassword": PASSWORD,
                "rotateApiKey": {"overlap_s": 60},
            }
            return accepted.get(name, body)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            name = case.operation.definition.raw["operationId"]
            case.headers.pop("Quizstream-Tenant", None)
            platform = name in OF_PLATFORM
            token = signed("*", "platform") if platform else signed(self.tenant)
            headers = {"authorization": f"Bearer {token}"}
            if platform:
                headers["quizstream-tenant"] = self.tenant
            return {"headers": headers, "base_url": f"http://127.0.0.1:{api.port}"}

        def after_call(self, response: Response, case: Case[Any]) -> None:
            super().after_call(response, case)
            name = case.operation.definition.raw["operationId"]
            walked.answers[name, response.status_code] += 1
            if response.status_code >= 300:
                return
            place = case.path_parameters.get("id")
            if name == "createWebhook":
                place = response.json()["endpoint"]["endpoint_id"]
            elif name.startswith("create"):
                (place,) = [value for key, value in response.json().items() if key.endswith("_id")][:1]
            elif name == "listWebhookMessages" and response.json()["items"]:
                place = response.json()["items"][0]["message_id"]
            if place is not None:
                walked.of_object.setdefault(str(place), []).append(name)

        def _fail_a_message(self) -> None:
            url = {"url": f"https://hooks.example.com/{next(TENANT_NUMBERS)}"}
            made = api.ask(signed(self.tenant), "POST", "/v1/webhooks", url).json
            endpoint = made["endpoint"]["endpoint_id"]
            with connect(api.settings.database_url, "test") as connection:
                connection.execute(FAILED_MESSAGE, [f"msg_{endpoint}", self.tenant, endpoint])

        def validate_response(self, response: Response, case: Case[Any], **_: Any) -> None:
            case.validate_response(response, checks=CHECKS, recorder=self.recorder)

    return Machine


def walk(api: TenantApi, path: str, walked: Walked, number: int, *, examples: int, steps: int) -> None:
    schema = schemathesis.openapi.from_dict(document(OPERATIONS)).include(path_regex=path)
    if "campaigns" in path:  # beside the list of them a creation, which needs a quiz, begins no walk
        schema = schema.exclude(operation_id="listCampaigns")
    schema.config.generation.update(modes=[GenerationMode.POSITIVE])
    seed(number)(machine_of(api, schema, walked)).run(
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )


@pytest.mark.parametrize("path", WALKS)
def test_an_object_is_walked_from_its_creation_to_its_end(api: TenantApi, path: str) -> None:
    walked = Walked()
    for number in range(ROUNDS_MAX):
        walk(api, f"^{path}(/|$)", walked, number, examples=EXAMPLES, steps=STEPS)
        if all(walked.has(names) for names in WALKS[path]):
            break
    for names in WALKS[path]:
        assert walked.has(names), f"no object was walked through {names}: {walked.answers}"


def test_what_an_operator_has_paused_is_not_deleted_as_described(api: TenantApi) -> None:
    content = {"url": f"https://hooks.example.com/{next(TENANT_NUMBERS)}"}
    made = api.ask(signed("acme"), "POST", "/v1/webhooks", content).json["endpoint"]["endpoint_id"]
    with connect(api.settings.database_url, "test") as connection:
        hold_endpoint(connection, "ops", made, "floods")
    operation = schemathesis.openapi.from_dict(document(OPERATIONS))["/v1/webhooks/{id}"]["DELETE"]
    case = operation.Case(path_parameters={"id": made})
    headers = {"authorization": f"Bearer {signed('acme')}"}
    answer = case.call(base_url=f"http://127.0.0.1:{api.port}", headers=headers)
    assert answer.status_code == 409
    case.validate_response(answer, checks=[checks.status_code_conformance])


@pytest.mark.full
@pytest.mark.parametrize("path", ["/v1/webhook", "/v1/"])
def test_long_walks_are_answered_as_described(api: TenantApi, path: str) -> None:
    walked = Walked()
    walk(api, f"^{path}", walked, 0, examples=150, steps=40)
    assert walked.answers
