"""Cases of a table that only `make test-all` runs."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """The cases of a parametrization marked slow: `[quick_case, *slow(case, case)]`; a tuple is one case's values."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]
