"""Exit codes of every command."""

from __future__ import annotations

OK = 0
NO = 1  # done, and the check failed: the ledger does not hold, a row was rejected, the topics differ
CANNOT = 2  # not possible; one line on stderr has the reason and the remedy
INTERRUPTED = 130
