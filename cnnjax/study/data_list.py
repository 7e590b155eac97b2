"""The data sets there are, as a table. Imports neither JAX nor TensorFlow, so that it is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.filesize import decimal
from rich.table import Table

from cnnjax.console import rich_text
from cnnjax.data.prepared_sets import Prepared, default_data_dir, prepared, unfinished
from cnnjax.data.source import built_in

HINT = "more:  cnnjax data prepare NAME  (mnist, fashion_mnist, cifar10, cifar100, imagenet2012, ... of TFDS)"


@dataclass(frozen=True)
class Listing:
    """Sets that come with cnnjax, with a line on each, and what TFDS prepared in `folder`."""

    folder: Path
    built_in: dict[str, str]
    prepared: list[Prepared]
    unfinished: list[Path]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "built_in": [{"name": name, "about": about} for name, about in self.built_in.items()],
            "folder": str(self.folder),
            "prepared": [version.to_json() for version in self.prepared],
            "unfinished": [str(path) for path in self.unfinished],
        }

    def table(self) -> Group:
        """For a terminal."""
        own = Table("name", "what it is", title="built in", title_justify="left")
        for name, about in self.built_in.items():
            own.add_row(rich_text(name), rich_text(about))
        left = [rich_text(f"unfinished, no set: {path}", "yellow") for path in self.unfinished]
        if not self.prepared:
            return Group(own, rich_text(f"nothing is prepared in {self.folder}"), *left, rich_text(HINT, "dim"))
        return Group(own, _prepared(self.prepared, self.folder), *left, rich_text(HINT, "dim"))


def listing(data_dir: Path | None = None) -> Listing:
    """What there is, with the sets prepared in `data_dir` (default: $TFDS_DATA_DIR or TFDS's own)."""
    folder = data_dir or default_data_dir()
    return Listing(folder, built_in(), prepared(folder), unfinished(folder))


def _prepared(versions: list[Prepared], folder: Path) -> Table:
    table = Table(title=rich_text(f"prepared in {folder}"), title_justify="left")
    for heading in ("name", "version", "format", "examples"):
        table.add_column(heading, overflow="fold")
    table.add_column("on disk", justify="right")
    for version in versions:
        state = rich_text(f"damaged: {version.damage}", "red") if version.damage else rich_text(version.written_splits)
        form = version.form if version.is_readable or version.damage else f"{version.form}, cannot be read"
        table.add_row(
            rich_text(version.name), rich_text(version.version), rich_text(form), state, decimal(version.size)
        )
    return table
