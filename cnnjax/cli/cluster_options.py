"""The options of `cnnjax sweep` that say what a cluster is asked for, and the file that they may stand in."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnjax.cli.app import out
from cnnjax.cli.options import MANY
from cnnjax.cli.printing import print_json
from cnnjax.errors import ConfigError, unknown

if TYPE_CHECKING:
    from cnnjax.launch.launcher import Detached

_PANEL = "On a cluster (--launcher slurm or ray)"


def _option(name: str, text: str, metavar: str | None = None, **bounds: Any) -> Any:
    return typer.Option(f"--{name}", help=text, metavar=metavar, show_default=False, rich_help_panel=_PANEL, **bounds)


_WHERE = "Where trials are trained: local is in this process, none by workers that you start."
Launcher = Annotated[str, typer.Option(metavar="local|slurm|ray|none", help=_WHERE, rich_help_panel=_PANEL)]
Cluster = Annotated[
    Path | None,
    _option("cluster", "A TOML file with these in its table \\[slurm] or \\[ray]; options win.", "FILE"),
]
Partition = Annotated[str | None, _option("partition", "SLURM's partition.")]
Gres = Annotated[str | None, _option("gres", "Devices of a node for SLURM, such as gpu:1.")]
Time = Annotated[str | None, _option("time", "Time limit of a job of SLURM, such as 4:00:00, after which it requeues.")]
Cpus = Annotated[float | None, _option("cpus", "Cores of a worker.", min=0, max=MANY)]
Gpus = Annotated[float | None, _option("gpus", "GPUs of a worker on Ray.", min=0, max=MANY)]
Mem = Annotated[str | None, _option("mem", "Memory of a worker, such as 32G.")]
Nodes = Annotated[int | None, _option("nodes", "Nodes of SLURM that one trial is spread over.", min=1, max=MANY)]
Jobs = Annotated[int | None, _option("jobs", "How many workers share the study.", min=1, max=MANY)]
Address = Annotated[str | None, _option("address", "Ray's HOST:PORT, ray://HOST:PORT or auto. [default: $RAY_ADDRESS]")]
Resource = Annotated[
    list[str] | None, _option("resource", "What a worker needs of Ray's custom resources; may be repeated.", "NAME=N")
]


def cluster_settings(launcher: str, file: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a launcher is told: the options that are not None, and the launcher's table of the file for the rest.

    Raises ConfigError for an option that is not this launcher's, and for a file that cannot be read.
    """
    from cnnjax.launch.launcher import settings_type

    cls = settings_type(launcher)
    given = {name: _plain(value) for name, value in options.items() if value is not None}
    known = set() if cls is None else set(cls.model_fields)
    strange = [f"--{name}" for name in given if _field(name) not in known]
    strange += ["--cluster"] if file is not None and cls is None else []
    if strange:
        raise ConfigError(
            f"--launcher {launcher} does not take {', '.join(strange)}: leave that out, or choose another launcher"
        )
    return _table(file, launcher) | {_field(name): value for name, value in given.items()}


def _field(name: str) -> str:
    return "resources" if name == "resource" else name


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _table(file: Path | None, launcher: str) -> dict[str, Any]:
    from cnnjax.launch.launcher import names, settings_of, settings_type

    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--cluster {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--cluster {file}: {error}") from None
    tables = [name for name in names() if settings_type(name) is not None]
    for name, table in content.items():
        if name not in tables or not isinstance(table, dict):
            raise ConfigError(f"--cluster {file}: {unknown('table of a launcher', name, tables)}")
        try:
            settings_of(name, table)
        except ConfigError as error:
            raise ConfigError(f"--cluster {file}: {error}") from None
    if launcher not in content:
        raise ConfigError(f"--cluster {file} has no table [{launcher}], which --launcher {launcher} reads")
    return content[launcher]


def print_detached(detached: Detached, *, as_json: bool) -> None:
    """What was submitted."""
    if as_json:
        print_json({"launcher": detached.launcher, "jobs": detached.jobs})
    else:
        out.print(detached.text, markup=False, highlight=False, soft_wrap=True)
