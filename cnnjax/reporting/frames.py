"""The type of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class Frame(Any):
        """A pandas DataFrame. pandas gives its results types too wide to check, so here they go unchecked."""
else:
    from pandas import DataFrame as Frame

__all__ = ["Frame"]
