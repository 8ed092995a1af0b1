"""The committed forms of the browser client: small, built from their source, served for any page."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ingest_api.quiz_pages.assets import FOLDER
from ingest_api.quiz_pages.browser_client import NAMES, PATHS
from tests.support.edge import Edge

SOURCE = FOLDER.parent / "browser"
GZIP_BYTES_MAX = 4096
NPM_TIMEOUT_S = 300


@pytest.mark.parametrize("name", NAMES)
def test_it_is_at_most_4_kb(name: str) -> None:
    assert len(gzip.compress((FOLDER / name).read_bytes(), 9, mtime=0)) <= GZIP_BYTES_MAX


def test_the_committed_files_are_built_from_their_source(tmp_path: Path) -> None:
    """Installs the locked compiler, checks the types, and builds; npm is needed for that alone."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        said = "npm is not installed (Debian: apt install nodejs npm): the client is not built again"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    copy = tmp_path / "browser"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("node_modules"))
    built = tmp_path / "built"
    for command in (["ci"], ["run", "types"], ["run", "build", "--", str(built)]):
        ran = subprocess.run(
            [npm, *command], cwd=copy, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in NAMES:
        assert (built / name).read_bytes() == (FOLDER / name).read_bytes(), f"npm run build writes {name}"


@pytest.mark.parametrize("path", PATHS)
def test_any_page_may_load_it_and_load_it_again(edge: Edge, path: str) -> None:
    first = edge.ask("GET", path)
    assert first.status == 200
    assert first.body == (FOLDER / path.removeprefix("/")).read_bytes()
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["access-control-allow-origin"] == "*"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "max-age=3600" in first.headers["cache-control"]
    again = edge.ask("GET", path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    packed = edge.ask("GET", path, headers={"accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == first.body
    assert len(packed.body) <= GZIP_BYTES_MAX
    assert packed.headers["etag"] != first.headers["etag"]
    head = edge.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
