from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.backoff import Backoff


@given(st.integers(1, 5000), st.integers())
def test_waits_grow_to_a_bound_and_begin_anew_after_a_success(failures: int, seed: int) -> None:
    backoff = Backoff(first_s=0.1, longest_s=10.0, jitter_ratio=0.2, rng=random.Random(seed))

    waits = [backoff.after_failure_s() for _ in range(failures)]
    backoff.after_success()

    assert all(0.1 <= wait <= 12.0 for wait in waits)
    assert all(later > earlier for earlier, later in pairwise(waits[:7]))
    assert 0.1 <= backoff.after_failure_s() <= 0.12
