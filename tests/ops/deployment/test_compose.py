"""docker-compose.yml is a compose file, runs every process, and tells each what it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ops.embedded import valkey
from ops.monitoring import generate
from ops.processes.table import NAMES
from pipeline.runtime.health import HOST_ENV
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load

CHECKOUT = Path(__file__).resolve().parents[3]
TEXT = (CHECKOUT / "docker-compose.yml").read_text()
DEVELOPMENT = ("demo", "simulator")
BALANCER = ("balancer-config", "balancer")
# No secret. As many ports as containers, or the one that all clients know.
EDGE_PORTS = ("QUIZSTREAM_EDGE_PORTS", ":-")
PORTS_OF_EDGES = ["127.0.0.1:${QUIZSTREAM_EDGE_PORTS:-8600}:8600"]
DEVELOPMENT_FOLDERS = ("ops/simulator", "ops/chaos", "benchmarks")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
# The Compose Specification's own schema, Apache License 2.0: tests/ops/deployment/data/compose-spec.LICENSE.
SCHEMA = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())


class Asked(Mapping[str, str]):
    """An environment without anything, which remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_it_is_a_compose_file() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = {**COMPOSE, "services": {"edge": {"imagine": "quizstream"}}}
    assert list(validator.iter_errors(broken)) != []


def test_a_full_valkey_forgets_as_the_embedded_one_does() -> None:
    command = SERVICES["valkey"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == valkey.EVICTION


@pytest.mark.parametrize("name", NAMES)
def test_every_process_runs_as_a_service(name: str) -> None:
    assert SERVICES[name]["command"] == ["process", name]


def test_every_service_of_ours_is_scraped_and_asked_for_its_health_where_it_serves() -> None:
    for name, port in generate.targets().items():
        assert f"127.0.0.1:{port}/health/ready" in SERVICES[name]["healthcheck"]["test"][-1]


def test_a_process_is_told_nothing_that_it_does_not_read() -> None:
    asked = Asked()
    Settings.from_env(asked)
    for name in (*NAMES, "prepare", "lag"):
        assert set(SERVICES[name]["environment"]) <= asked.names | {HOST_ENV}


def test_every_server_of_a_process_is_a_service() -> None:
    for value in SERVICES["edge"]["environment"].values():
        for host in re.findall(r"(?:@|//|^)([a-z]+):\d+", value):
            assert host in SERVICES, f"{host} in {value.partition('@')[2]}"


def test_every_secret_must_be_set_and_is_in_the_example() -> None:
    example = (CHECKOUT / "ops" / "compose.env.example").read_text()
    named = set(re.findall(r"^(\w+)=$", example, re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)(:?[?-])?", TEXT)) - {EDGE_PORTS}
    assert {name for name, _ in used} == named
    assert {how for _, how in used} == {":?"}


PROMETHEUS = yaml.safe_load((CHECKOUT / "ops" / "monitoring" / "prometheus" / "prometheus.yml").read_text())


def test_a_service_of_several_containers_shares_no_folder_and_no_port_and_each_is_scraped() -> None:
    """`docker compose up --scale worker=2`."""
    (scrape,) = PROMETHEUS["scrape_configs"]
    found = {name: one["port"] for one in scrape["dns_sd_configs"] for name in one["names"]}
    assert found == {name: generate.targets()[name] for name in generate.SCALED}
    assert {one["type"] for one in scrape["dns_sd_configs"]} == {"A"}  # every address of the name
    (relabel,) = scrape["relabel_configs"]
    assert (relabel["source_labels"], relabel["target_label"]) == (["__meta_dns_name"], "process")
    for name in generate.SCALED:
        service = SERVICES[name]
        assert service.get("ports", []) == (PORTS_OF_EDGES if name == "edge" else [])
        assert "container_name" not in service
        assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == []
    # Where each container keeps its state: a volume that Docker makes for it alone.
    assert re.search(r"^VOLUME /var/lib/quizstream$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^ENV QUIZSTREAM_HOME=/var/lib/quizstream$", DOCKERFILE, re.MULTILINE)


def test_a_service_that_is_found_by_its_address_alone_has_one_container() -> None:
    (scrape,) = PROMETHEUS["scrape_configs"]
    alone = {group["labels"]["process"] for group in scrape["static_configs"]}
    assert alone == set(generate.targets()) - set(generate.SCALED)


def test_what_a_service_names_is_there() -> None:
    for name, service in SERVICES.items():
        for other in service.get("depends_on", ()):
            assert other in SERVICES, f"{name} depends on {other}"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (CHECKOUT / source).exists(), f"{name} mounts {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name} mounts {source}"
        if "build" in service:
            assert (CHECKOUT / service["build"]["dockerfile"]).is_file()


def test_the_generated_files_are_mounted_where_their_readers_look() -> None:
    mounted = {
        CHECKOUT / volume.split(":")[0]: volume.split(":")[1]
        for name in ("prometheus", "grafana")
        for volume in SERVICES[name]["volumes"]
        if volume.startswith(".")
    }
    for path in generate.files(load(generate.TOPOLOGY_FILE)):
        assert [folder for folder in mounted if path.is_relative_to(folder)], f"{path} is not mounted"
    assert "/var/lib/grafana/dashboards" in mounted.values()


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


DOCKERFILE = (CHECKOUT / "ops" / "Dockerfile").read_text()


def copied(stage: str) -> set[str]:
    """The paths that a stage of the Dockerfile copies from the checkout, of its own instructions."""
    text = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    (body,) = [part for part in text if part.partition("\n")[0].endswith(f" AS {stage}")]
    patterns = {
        name for source in re.findall(r"^COPY (.+) \S+$", body, re.MULTILINE) for name in source.split()
    }
    for pattern in patterns:
        assert list(CHECKOUT.glob(pattern)), f"{pattern} matches nothing"
    return {str(path.relative_to(CHECKOUT)) for pattern in patterns for path in CHECKOUT.glob(pattern)}


def test_the_image_holds_what_the_processes_read() -> None:
    ignored = (CHECKOUT / "ops" / "Dockerfile.dockerignore").read_text().splitlines()
    for name in copied("application") | copied("development"):
        assert any(line.startswith("!") and f"{name}/".startswith(f"{line[1:]}/") for line in ignored), name
    assert "--require-hashes" in DOCKERFILE
    assert "USER quizstream" in DOCKERFILE


def test_the_production_image_lacks_what_is_for_development_and_nothing_else() -> None:
    ops = {f"ops/{path.parent.name}" for path in (CHECKOUT / "ops").glob("*/__init__.py")}
    ops |= {f"ops/{path.name}" for path in (CHECKOUT / "ops").glob("*.py")}
    product = {*ops, "schemas", "pipeline", "ingest_api", "sinks"} - set(DEVELOPMENT_FOLDERS)
    code = {name for name in copied("application") if (CHECKOUT / name).is_dir() or name.endswith(".py")}
    assert code == product | {"benchmarks/results"}
    assert copied("development") == set(DEVELOPMENT_FOLDERS)
    assert copied("production") == set()
    assert re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == ("application", "production")


def test_demo_data_and_the_simulator_are_of_the_profile_development_alone() -> None:
    assert SERVICES["demo"]["entrypoint"] == [*SERVICES["prepare"]["entrypoint"], "--demo"]
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert {name for name, given in profiles.items() if given == ["development"]} == {"demo", "simulator"}
    assert {name for name, given in profiles.items() if given == ["balancer"]} == set(BALANCER)
    assert set(profiles) == {*DEVELOPMENT, *BALANCER}


def test_the_balancer_is_before_every_edge_with_the_file_that_was_written_for_it() -> None:
    written, nginx = (SERVICES[name] for name in ("balancer-config", "balancer"))
    options = written["command"]
    assert options[:2] == ["balancer", "config"]
    assert f"edge:{generate.targets()['edge']}" in options
    folder = written["volumes"][-1].partition(":")[2]
    file = options[options.index("--output") + 1]
    assert file.startswith(f"{folder}/")
    (mounted,) = nginx["volumes"]
    assert mounted.split(":")[0] == written["volumes"][-1].split(":")[0]
    assert f"{mounted.split(':')[1]}/{file.rpartition('/')[2]}" in nginx["command"]
    assert "/balancer/live" in nginx["healthcheck"]["test"][-1]


def test_only_the_simulator_needs_the_development_image() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            development = name == "simulator"
            assert service["build"]["target"] == ("development" if development else "production")
            profile = "development" if name in DEVELOPMENT else "balancer" if name in BALANCER else ""
            assert service.get("profiles", []) == ([profile] if profile else [])
            assert service["image"] == ("quizstream-development" if development else "quizstream")
        assert not any(other == "simulator" for other in service.get("depends_on", ())), name
