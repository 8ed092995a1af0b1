"""Tests. What a helper in `tests.support` expects is shown with its values, like what a test expects."""

import pytest

pytest.register_assert_rewrite("tests.support")
