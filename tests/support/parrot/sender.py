"""The sender's process, with the second provider registered."""

from __future__ import annotations

from pipeline.runtime.settings import Settings
from sinks import providers
from sinks.delivery import process

if __name__ == "__main__":
    providers.register("parrot", "tests.support.parrot")
    raise SystemExit(process.main(Settings.from_env()))
