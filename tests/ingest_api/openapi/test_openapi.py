"""The description is true: whatever it allows is answered as it says."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, checks

from ingest_api.openapi.document import document
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from tests.support.edge import Edge

TOPOLOGY = load(Settings.from_env({}).topology_file)
SCHEMA = schemathesis.openapi.from_dict(document(TOPOLOGY.edge))

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
