"""Webhooks of the provider, signed with the secret of a running deployment."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.request
from typing import Any

from tests.support.running_pipeline import Pipeline


def post_webhook(
    pipeline: Pipeline, field: str, value: dict[str, Any], *, account: str = "1", number: str = ""
) -> None:
    """One change; the edge has acknowledged it when this returns. `number`: ours, that it is about."""
    metadata = {"metadata": {"phone_number_id": number, "display_phone_number": number}} if number else {}
    change = {"field": field, "value": {"messaging_product": "whatsapp", **metadata, **value}}
    content = {"object": "whatsapp_business_account", "entry": [{"id": account, "changes": [change]}]}
    assert post_body(pipeline, json.dumps(content).encode()) == 200


def post_body(pipeline: Pipeline, body: bytes) -> int:
    """The status of the answer."""
    settings = pipeline.found.settings
    digest = hmac.new(settings.webhook_secret, body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{settings.edge_url}/webhooks/meta-cloud", body, headers)
    with urllib.request.urlopen(request) as response:
        return int(response.status)
