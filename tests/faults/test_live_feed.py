"""Seconds of the live feed (`make live-feed` runs it for four minutes), and proof that it notices a loss."""

import secrets
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.faults.live_feed import run

SECONDS, WORKERS = 20, 4  # two at the start; others join, and some are terminated, killed or stopped


@pytest.mark.timeout(900)
def test_no_commit_passes_an_unprocessed_record_while_partitions_move(
    stack: ServerUrls, tmp_path: Path
) -> None:
    seed = secrets.randbelow(1 << 31)

    result = run(stack.kafka_bootstrap, "ours", SECONDS, WORKERS, seed, tmp_path)

    assert result.violations == [], seed
    assert result.never_processed == 0, seed
    assert result.failed_workers == [], seed
    assert result.drained, seed
    assert result.commits_seen > 0


@pytest.mark.full  # how soon it shows depends on the machine; `make live-feed` requires it
@pytest.mark.timeout(900)
def test_faust_own_gap_bookkeeping_is_caught(stack: ServerUrls, tmp_path: Path) -> None:
    result = run(stack.kafka_bootstrap, "faust-gaps", 120, 6, 4, tmp_path, until_caught=True)

    assert result.violations
