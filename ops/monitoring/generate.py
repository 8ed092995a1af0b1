"""Generates the files of Prometheus and Grafana from the topology: `python -m ops.monitoring.generate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ops.monitoring import alert_rules, dashboard
from pipeline.runtime.ports import PORT_BASE_DEFAULT, Ports
from pipeline.topology.loader import load
from pipeline.topology.model import Topology

FOLDER = Path(__file__).resolve().parent
TOPOLOGY_FILE = FOLDER.parents[1] / "topology.yaml"

SCRAPE_INTERVAL_S = 5
HEADER = "# Generated from topology.yaml by `python -m ops.monitoring.generate`; do not edit.\n"


def targets() -> dict[str, int]:
    """Return service of `docker-compose.yml` -> port of its /metrics."""
    ports = Ports.from_base(PORT_BASE_DEFAULT)
    return {
        "edge": ports.edge,
        "tenants": ports.tenants,
        "worker": ports.worker_metrics,
        "postgres-sink": ports.sink_metrics,
        "whatsapp-sender": ports.sender_metrics,
        "webhook-sender": ports.webhooks_metrics,
        "simulator": ports.simulator,
        "lag": ports.supervisor_metrics,
    }


# Services that may run in several containers (`docker compose up --scale worker=2`): a name resolves to all
# of them. The others have one container: they stand for the provider, or measure what exists once.
SCALED = alert_rules.NEEDED


def files(topology: Topology) -> dict[Path, str]:
    """Return every generated file with its content."""
    return {
        FOLDER / "prometheus" / "prometheus.yml": _yaml(_prometheus()),
        FOLDER / "prometheus" / "alerts.yml": _yaml(alert_rules.render(topology)),
        FOLDER / "grafana" / "dashboards" / "quizstream.json": json.dumps(
            dashboard.render(topology), indent=2
        )
        + "\n",
        FOLDER / "grafana" / "provisioning" / "datasources" / "prometheus.yml": _yaml(_datasources()),
        FOLDER / "grafana" / "provisioning" / "dashboards" / "quizstream.yml": _yaml(_dashboards()),
    }


def write(topology: Topology) -> list[Path]:
    """Write the files whose content differs; return them."""
    changed = [
        path for path, text in files(topology).items() if not path.exists() or path.read_text() != text
    ]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files(topology)[path])
    return changed


def _prometheus() -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_INTERVAL_S}s",
            "evaluation_interval": f"{SCRAPE_INTERVAL_S}s",
        },
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {
                "job_name": "quizstream",
                "static_configs": [
                    {"targets": [f"{name}:{port}"], "labels": {"process": name}}
                    for name, port in targets().items()
                    if name not in SCALED
                ],
                # Every container of a service is a target, with its address as `instance`.
                "dns_sd_configs": [
                    {
                        "names": [name],
                        "type": "A",
                        "port": targets()[name],
                        "refresh_interval": f"{SCRAPE_INTERVAL_S}s",
                    }
                    for name in SCALED
                ],
                "relabel_configs": [
                    {
                        "source_labels": ["__meta_dns_name"],
                        "regex": "(.+)",
                        "target_label": "process",
                    }
                ],
            }
        ],
    }


def _datasources() -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "uid": dashboard.DATASOURCE["uid"],
                "type": dashboard.DATASOURCE["type"],
                "access": "proxy",
                "url": "http://prometheus:9090",
                "isDefault": True,
                "jsonData": {"timeInterval": f"{SCRAPE_INTERVAL_S}s"},
            }
        ],
    }


def _dashboards() -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "quizstream",
                "type": "file",
                "options": {"path": "/var/lib/grafana/dashboards"},
            }
        ],
    }


def _yaml(document: dict[str, Any]) -> str:
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)


if __name__ == "__main__":
    for path in write(load(TOPOLOGY_FILE)):
        print(f"wrote {path.relative_to(FOLDER.parents[1])}")
