"""Exit codes of every command."""

from __future__ import annotations

OK = 0
NO = 1  # it was done, and the answer is no: the ledger does not hold, a row was refused, something drifted
CANNOT = 2  # it could not be done; one line on stderr says why and what to do
INTERRUPTED = 130
