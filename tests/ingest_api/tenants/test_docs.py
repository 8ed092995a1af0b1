"""The commands of docs/tenant-api.md do what it says."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from sinks.postgres.catalogue.api_keys import KeyDraft, make_key
from sinks.postgres.connect import connect
from tests.support.edge import wait_until
from tests.support.samples import NOW_MS
from tests.support.tenant_api import TenantApi

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = DOCS / "tenant-api.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="without curl")
def test_a_tenants_work_is_done_with_curl_alone(api: TenantApi, tmp_path: Path) -> None:
    with connect(api.settings.database_url, "test") as connection:
        key = make_key(connection, "test", "acme", KeyDraft("docs", "owner"), NOW_MS, secrets.token_urlsafe)
    wait_until(lambda: api.ask(key.secret, "GET", "/v1/quizzes").status == 200, "the key")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert script.count("curl") >= 12
    own = {
        **os.environ,
        "QUIZSTREAM_API": f"http://127.0.0.1:{api.port}",
        "QUIZSTREAM_API_KEY": key.secret,
    }
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"title":"Your feedback"' in done.stdout
    assert '"state":"cancelled"' in done.stdout
    assert "campaign.cancel" in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="without curl")
def test_an_endpoint_is_made_looked_at_and_deleted_with_curl(api: TenantApi, tmp_path: Path) -> None:
    with connect(api.settings.database_url, "test") as connection:
        key = make_key(connection, "test", "acme", KeyDraft("hooks", "owner"), NOW_MS, secrets.token_urlsafe)
    wait_until(lambda: api.ask(key.secret, "GET", "/v1/webhooks").status == 200, "the key")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", (DOCS / "outbound-webhooks.md").read_text(), re.DOTALL))
    own = {
        **os.environ,
        "QUIZSTREAM_API": f"http://127.0.0.1:{api.port}",
        "QUIZSTREAM_API_KEY": key.secret,
    }
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"items":[]' in done.stdout
    assert '"secret":"whsec_' in done.stdout
