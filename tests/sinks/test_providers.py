"""The boundary around each provider: what is registered, and who may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.campaigns.message import Rendered
from sinks import providers
from sinks.provider import Limits, Provider
from sinks.webhook import WebhookSource

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("schemas", "pipeline", "ingest_api", "sinks", "ops", "benchmarks")
EDGE_MAY_IMPORT = {"sinks.providers", "sinks.webhook"}


def imports() -> Iterator[tuple[Path, str]]:
    """(file, imported module) of every import in the sources; `from a import b` as `a.b`."""
    for folder in SOURCES:
        for path in (CHECKOUT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from ((path, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("name", providers.names())
def test_a_provider_goes_by_its_registered_name(name: str) -> None:
    provider: Provider = providers.provider_named(name)
    source: WebhookSource = providers.webhooks_of(name)
    assert (provider.name, source.provider) == (name, name)


def test_a_name_of_before_leads_to_its_provider() -> None:
    assert providers.provider_named("whatsapp") is providers.provider_named("meta-cloud")


def test_an_unknown_name_and_a_second_registration_are_refused() -> None:
    with pytest.raises(providers.UnknownProvider, match="'nobody'"):
        providers.provider_named("nobody")
    for name in ("meta-cloud", "whatsapp"):
        with pytest.raises(ValueError, match="registered already"):
            providers.register(name, "somewhere.else")


def test_no_module_outside_a_providers_package_imports_it() -> None:
    channels = (CHECKOUT / "sinks/whatsapp", CHECKOUT / "sinks/messaging")
    packages = {f"sinks.{channel.name}.{path.name}" for channel in channels for path in channel.iterdir()}
    for path, imported in imports():
        here = ".".join(path.relative_to(CHECKOUT).parts[:3])
        assert here in packages or not any(imported.startswith(f"{name}.") for name in packages), path


def test_the_edge_imports_of_the_sinks_only_the_registry_and_the_webhooks() -> None:
    for path, imported in imports():
        of_the_edge = path.is_relative_to(CHECKOUT / "ingest_api")
        # A process of its own, which has the database.
        of_the_tenant_api = path.is_relative_to(CHECKOUT / "ingest_api" / "tenants")
        if of_the_edge and not of_the_tenant_api and imported.startswith("sinks."):
            assert ".".join(imported.split(".")[:2]) in EDGE_MAY_IMPORT, path
        if path.is_relative_to(CHECKOUT / "sinks"):
            assert not imported.startswith("ops.")


def test_the_edge_loads_no_client_and_no_connection_of_a_provider() -> None:
    code = (
        "import sys, ingest_api.server; from sinks import providers;"
        "[providers.webhooks_of(name) for name in providers.names()];"
        "print([m for m in sys.modules if m.startswith('sinks.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(ast.literal_eval(done.stdout))
    assert "sinks.whatsapp.meta_cloud.webhook" in loaded
    assert not loaded & {"sinks.connection", "sinks.delivery", "sinks.postgres"}
    assert "sinks.whatsapp.meta_cloud.client" not in loaded


LIMITS = Limits(text_chars_max=5, caption_chars_max=3, parameter_chars_max=2, media_bytes_max={"image": 1})


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        (Rendered("text", text="12345"), True),
        (Rendered("text", text="123456"), False),
        (Rendered("image", text="123", image_url="u"), True),
        (Rendered("image", image_url="u"), True),
        (Rendered("image", text="1234", image_url="u"), False),
        (Rendered("video", text="1"), False),
        (Rendered("template", template="t", parameters=("12", "1")), True),
        (Rendered("template", template="t", parameters=("12", "123")), False),
    ],
)
def test_a_message_is_held_against_the_limits_of_its_provider(message: Rendered, fits: bool) -> None:
    assert (LIMITS.problem_of(message) is None) == fits
