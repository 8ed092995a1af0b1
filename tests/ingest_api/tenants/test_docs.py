"""The curl commands of the documents do what they say."""

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
CURL = shutil.which("curl")


@pytest.mark.skipif(CURL is None and not os.environ.get("CI"), reason="curl is not installed")
@pytest.mark.parametrize(
    ("page", "commands_min", "shown"),
    [
        (
            "tenant-api.md",
            12,
            ('"title":"Your feedback"', '"state":"cancelled"', "campaign.cancel", "user.create"),
        ),
        ("outbound-webhooks.md", 4, ('"items":[]', '"secret":"whsec_')),
    ],
    ids=["tenant-api", "outbound-webhooks"],
)
def test_the_commands_of_a_page_run(
    api: TenantApi, tmp_path: Path, page: str, commands_min: int, shown: tuple[str, ...]
) -> None:
    with connect(api.settings.database_url, "test") as connection:
        key = make_key(connection, "test", "acme", KeyDraft(page, "owner"), NOW_MS, secrets.token_urlsafe)
    wait_until(lambda: api.ask(key.secret, "GET", "/v1/quizzes").status == 200, "the key")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL))
    assert script.count("curl") >= commands_min
    own = {
        **os.environ,
        "QUIZSTREAM_API": f"http://127.0.0.1:{api.port}",
        "QUIZSTREAM_API_KEY": key.secret,
    }
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [text for text in shown if text not in done.stdout] == []
