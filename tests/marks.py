"""Cases of a table that only `make test-all` runs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """The cases of a parametrization marked slow: `[quick_case, *slow(case, case)]`; a tuple is one case's values.

    Raises TypeError for a test: as a decorator this would put a list in its place, which no test would miss.
    """
    for case in cases:
        if inspect.isfunction(case) and case.__name__.startswith("test"):
            raise TypeError(f"slow({case.__name__}): it marks cases of a table; decorate a test with @pytest.mark.slow")
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]
