"""`quizstream number pair` on the running product: a lost session of a simulated number is paired again."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ops.simulated_instances import credential_of, token_of
from tests.support.running_pipeline import Pipeline, until

pytestmark = pytest.mark.xdist_group("acceptance")

NUMBER = "551150016001"


def session(pipeline: Pipeline, *, connected: bool) -> None:
    told = {"number": NUMBER, "connected": connected, "provider": "evolution", "reason": "428: closed"}
    url = f"{pipeline.found.settings.simulator_url}/simulator/sessions"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(told).encode())).close()


def test_a_lost_session_pauses_its_number_until_it_is_paired_again(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    settings = pipeline.found.settings
    assert pipeline.quizstream("tenant", "add", "pairing", "--name", "pairing").returncode == 0
    added = pipeline.quizstream(
        *("number", "add", NUMBER, "--tenant", "pairing", "--provider", "evolution"),
        *("--base-url", settings.simulator_url, "--credential", credential_of(NUMBER)),
    )
    assert added.returncode == 0, added.stderr
    try:
        url = pipeline.quizstream("number", "webhook", NUMBER, "--rotate").stdout.splitlines()[0]
        body = json.dumps({"webhook": {"enabled": True, "url": url}}).encode()
        token = token_of(settings.access_token, NUMBER)
        asked = urllib.request.Request(
            f"{settings.simulator_url}/webhook/set/{NUMBER}", body, {"apikey": token}
        )
        urllib.request.urlopen(asked).close()
        state = "SELECT state, session_lost_at IS NOT NULL FROM sender_numbers WHERE number_id = %s"
        session(pipeline, connected=False)
        until(lambda: pipeline.rows(state, NUMBER) == [("paused", True)], "the number pauses")

        image = tmp_path / "code.png"
        command = [sys.executable, "-m", "ops.cli", "number", "pair", NUMBER, "--image", str(image)]
        env = pipeline.env | {credential_of(NUMBER): token, "PYTHONUTF8": "1"}
        pairing = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until(lambda: image.exists() or pairing.poll() is not None, "the code is shown")
        session(pipeline, connected=True)
        out, error = pairing.communicate(timeout=120)

        assert pairing.returncode == 0, error
        assert out.endswith(f"{NUMBER}: connected\n")
        assert "█" in out
        assert token not in out + error
        assert not image.exists()
        until(lambda: pipeline.rows(state, NUMBER) == [("active", False)], "it sends again")
    finally:
        pipeline.rows("DELETE FROM sender_numbers WHERE number_id = %s RETURNING 1", NUMBER)
