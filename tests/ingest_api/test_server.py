"""The edge as a process: it takes the port it is told, and a SIGTERM loses nobody's answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.edge import Edge, prepare, settings_for, wait_ready, wait_until
from tests.support.ports import free_ports

MAIN = (
    "import sys\n"
    "from ingest_api.server import main\n"
    "from pipeline.runtime.settings import Settings\n"
    "sys.exit(main(Settings.from_env()))\n"
)
EARLY_SIGNAL = (
    "import signal, uvicorn\n"
    "run = uvicorn.Server.run\n"
    "def run_late(server, *sockets):\n"
    "    signal.raise_signal(signal.SIGTERM)\n"
    "    run(server, *sockets)\n"
    "uvicorn.Server.run = run_late\n"
)
CLIENTS = 8


def test_a_sigterm_under_load_loses_nothing_that_was_accepted(stack: ServerUrls, namespace: str) -> None:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    port = free_ports().edge
    env = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "QUIZSTREAM_NAMESPACE": namespace,
        "QUIZSTREAM_EDGE_URL": f"http://127.0.0.1:{port}",
    }
    process = subprocess.Popen([sys.executable, "-c", MAIN], env=env, stderr=subprocess.DEVNULL)
    try:
        edge = Edge(port, settings, topology)
        wait_until(lambda: process.poll() is None and listens(port), "the edge to listen")
        wait_ready(edge)
        accepted: list[str] = []
        cut_off: list[Exception] = []
        stopping = threading.Event()

        def post() -> None:
            while not stopping.is_set():
                try:
                    answer = edge.submit("survey", {"answers": {}})
                except ConnectionRefusedError:
                    return
                except (OSError, HTTPException) as error:
                    cut_off.append(error)
                    return
                assert answer.status == 202
                accepted.append(answer.json["completion_id"])

        with ThreadPoolExecutor(CLIENTS) as pool:
            posting = [pool.submit(post) for _ in range(CLIENTS)]
            wait_until(lambda: len(accepted) > 100, "the first completions")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            stopping.set()
        for client in posting:
            client.result()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert {completion.completion_id for completion in edge.completions()} >= set(accepted)
    # Only connections that the kernel had taken and the edge had not yet seen may be cut.
    assert all(isinstance(error, ConnectionError) for error in cut_off)


@pytest.mark.parametrize("serving", ["ingest_api.server", "ops.simulator.server"])
def test_a_sigterm_before_it_serves_ends_it_too(
    serving: str, stack: ServerUrls, namespace: str, tmp_path: Path
) -> None:
    prepare(settings_for(stack.kafka_bootstrap, namespace))
    ports = free_ports()
    env = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "QUIZSTREAM_NAMESPACE": namespace,
        "QUIZSTREAM_HOME": str(tmp_path),
        "QUIZSTREAM_PORT_BASE": str(ports.base),
        "QUIZSTREAM_EDGE_URL": f"http://127.0.0.1:{ports.edge}",
    }
    main = EARLY_SIGNAL + MAIN.replace("ingest_api.server", serving)

    ended = subprocess.run([sys.executable, "-c", main], env=env, stderr=subprocess.PIPE, timeout=60)

    assert ended.returncode == 0, ended.stderr


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
