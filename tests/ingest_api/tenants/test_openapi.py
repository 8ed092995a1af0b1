"""The description of the tenant API is true: whatever is sent, the answer is one that it lists."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, GenerationMode, checks

from ingest_api.tenants.api.openapi import document
from ingest_api.tenants.resources.every import OPERATIONS
from tests.support.tenant_api import TenantApi, signed

TENANT = "fuzz"
QUIZ = {"title": "Feedback", "questions": [{"question_id": "q1", "text": "How was it?"}]}
USER = {"email": "fuzz@example.com", "role": "viewer", "password": "correct horse battery"}
OF_PLATFORM = {one.name for one in OPERATIONS if one.permission == "platform"}
SCHEMA = schemathesis.openapi.from_dict(document(OPERATIONS))
AGAINST = schemathesis.openapi.from_dict(document(OPERATIONS))
AGAINST.config.generation.update(modes=[GenerationMode.NEGATIVE])
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def ids(api: TenantApi) -> dict[str, str]:
    """One object of each collection, of a tenant that no other test uses."""
    platform = signed("*", "platform")
    assert api.ask(platform, "PUT", f"/v1/tenants/{TENANT}", {"name": "Fuzz"}).status == 200
    number = {"number_id": "5577", "tenant_id": TENANT, "provider": "meta-cloud"}
    number |= {"base_url": "https://graph.facebook.com", "credential": "FUZZ_TOKEN"}
    as_tenant = {"quizstream-tenant": TENANT}
    assert api.ask(platform, "PUT", "/v1/numbers/5577", number, as_tenant).status == 200

    def made(path: str, content: dict[str, Any], name: str) -> str:
        answer = api.ask(signed(TENANT), "POST", path, content)
        assert answer.status == 201, answer.body
        return str(answer.json[name])

    quiz = made("/v1/quizzes", QUIZ, "quiz_id")
    message = {"kind": "text", "text": "Hello"}
    campaign = {"name": "Club", "quiz_ids": [quiz], "message": message}
    return {
        "quizzes": quiz,
        "campaigns": made("/v1/campaigns", campaign, "campaign_id"),
        "api-keys": made("/v1/api-keys", {"name": "k"}, "key_id"),
        "users": made("/v1/users", USER, "user_id"),
        "numbers": "5577",
        "tenants": TENANT,
    }


def aimed(case: Case[Any], ids: dict[str, str]) -> dict[str, str]:
    """Let the case name objects that there are, and return the headers of a caller who may do it."""
    collection = case.operation.path.split("/")[2]
    if "id" in case.path_parameters and collection in ids:
        case.path_parameters["id"] = ids[collection]
    if isinstance(case.body, dict) and "quiz_ids" in case.body:
        case.body["quiz_ids"] = [ids["quizzes"]]
    name = case.operation.definition.raw["operationId"]
    if name in OF_PLATFORM:
        return {"authorization": f"Bearer {signed('*', 'platform')}", "quizstream-tenant": TENANT}
    case.headers.pop("Quizstream-Tenant", None)
    headers = {"authorization": f"Bearer {signed(TENANT)}"}
    return headers | {"if-match": "*"} if case.method == "PUT" else headers


@SCHEMA.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(api: TenantApi, ids: dict[str, str], case: Case[Any]) -> None:
    headers = aimed(case, ids)
    case.call_and_validate(base_url=f"http://127.0.0.1:{api.port}", headers=headers, checks=CHECKS)


@AGAINST.include(method=["POST", "PUT"]).parametrize()
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_is_not_allowed_is_answered_as_described(
    api: TenantApi, ids: dict[str, str], case: Case[Any]
) -> None:
    headers = aimed(case, ids) if isinstance(case.path_parameters.get("id", ""), str) else {}
    case.call_and_validate(base_url=f"http://127.0.0.1:{api.port}", headers=headers, checks=CHECKS)
