"""A running nginx with a configuration that the product wrote, and a certificate for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STARTED_WITHIN_S = 60.0  # a bound on a hang


def require_nginx() -> str:
    """Its path. Skips on a laptop without it, and fails in CI."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        said = "nginx is not installed (Debian: apt install nginx): the load balancer is not tested"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


def check(file: Path) -> str:
    """What `nginx -t` says; empty if the configuration is in order."""
    ran = subprocess.run(
        [require_nginx(), "-t", "-q", "-c", str(file)], capture_output=True, text=True, timeout=60
    )
    return "" if ran.returncode == 0 and not ran.stderr else f"{ran.returncode}: {ran.stderr}"


@contextmanager
def running(file: Path, port: int) -> Iterator[None]:
    """nginx with this configuration, which accepts connections on `port`."""
    process = subprocess.Popen(
        [require_nginx(), "-c", str(file), "-g", "daemon off;"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        give_up_at = time.monotonic() + STARTED_WITHIN_S
        while not listens(port):
            if process.poll() is not None:
                pytest.fail(f"nginx ended: {process.communicate()[0]}")
            assert time.monotonic() < give_up_at, "nginx does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(STARTED_WITHIN_S)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Certificate and key of `localhost`, for a day."""
    openssl = shutil.which("openssl")
    if openssl is None:
        said = "openssl is not installed (Debian: apt install openssl): TLS is not tested"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key
