"""environment.json: what a training ran with, so that its result can be traced."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from cnnjax.records.record import Record


class EnvironmentRecord(Record):
    """environment.json: versions, code, command and hardware.

    cnnjax_commit, commit: of cnnjax and of the folder the experiment ran in; None outside git. cnnjax_source: digest of
    the source of cnnjax. settings: of JAX, where they change numbers and are not its own. hosts: processes.
    """

    filename: ClassVar[str] = "environment.json"

    cnnjax: str | None = None
    cnnjax_commit: str | None = None
    cnnjax_source: str | None = None
    commit: str | None = None
    command: str | None = None
    python: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str | None] = Field(default_factory=dict)
    platform: str | None = None
    hardware: str | None = None
    devices: tuple[str, ...] = ()
    processor: str | None = None
    cores: int | None = None
    hosts: int | None = None
