"""The description is true: whatever it allows, and what it does not allow, is answered as it says."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, GenerationMode, checks

from ingest_api.openapi.document import document
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from tests.support.edge import Edge

TOPOLOGY = load(Settings.from_env({}).topology_file)
SCHEMA = schemathesis.openapi.from_dict(document(TOPOLOGY.edge))
# What a GET is given can be any text; a ping has no content.
AGAINST = schemathesis.openapi.from_dict(document(TOPOLOGY.edge)).include(method="POST").exclude(path="/ping")
AGAINST.config.generation.update(modes=[GenerationMode.NEGATIVE])

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@SCHEMA.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(edge: Edge, case: Case[Any]) -> None:
    if "quiz_id" in case.path_parameters:
        case.path_parameters["quiz_id"] = "anything"
    case.call_and_validate(base_url=edge.url, checks=CHECKS)


@AGAINST.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_is_not_allowed_is_answered_as_described(edge: Edge, case: Case[Any]) -> None:
    """Bodies, queries, headers and paths that break the description: a described rejection, never a 5xx."""
    if case.operation.path.endswith(("/completions", "/submit", "/progress")):
        case.path_parameters["quiz_id"] = "anything"  # so that it is the content that is wrong
    case.call_and_validate(base_url=edge.url, checks=[*CHECKS, checks.response_headers_conformance])


def test_every_route_and_method_is_described(edge: Edge) -> None:
    """Another method of a described path is 405 with those that there are."""
    described = document(TOPOLOGY.edge)["paths"]
    for path, operations in described.items():
        concrete = path.replace("{quiz_id}", "anything").replace("{provider}", "meta-cloud")
        answer = edge.ask("DELETE", concrete)
        assert answer.status == 405, path
        allowed = {method.strip().lower() for method in answer.headers["allow"].split(",")}
        assert allowed - {"head", "options"} == set(operations), path
