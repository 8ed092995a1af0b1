"""Faust without this project's changes: its aiokafka transport, an empty stage, one event after the other."""

from __future__ import annotations

from typing import Any

import faust

from benchmarks.peers.process import Meter, from_arguments


def main() -> None:
    work = from_arguments()
    meter = Meter(work)
    app = faust.App(
        work.group,
        broker=f"kafka://{work.bootstrap}",
        datadir=str(work.datadir),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(
        work.source, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    async def run(stream: Any) -> None:
        async for _ in stream.events():
            if meter.count():
                await app.consumer.commit()
                meter.end_now()

    app.agent(source, name=work.way)(run)
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
