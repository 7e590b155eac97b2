"""Weights & Biases: a run for each trial, in a project for each study, grouped by arm.

WANDB_MODE=offline writes into `<run>/wandb` and sends nothing; `wandb sync` sends it later. Offline, W&B writes by the
32 KiB: a process that is killed loses the steps that were fewer.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from cnnjax.errors import ConfigError
from cnnjax.events import Started
from cnnjax.files import write_text
from cnnjax.loggers.logger import Logger, Outcome, flat, own_folder

_LONGEST = 128
"""Characters that W&B takes in names."""


class WeightsAndBiases(Logger, name="wandb"):
    """A training that continues goes on in its run, in which W&B ignores the steps it has.

    The run's id is kept in `<run>/wandb/id`: the trial's, and some letters, so that the same trial trained in another
    folder, or again by other code, is another run. The training step is W&B's own step.
    """

    needs: ClassVar[Mapping[str, str]] = {"wandb": "wandb>=0.31"}
    _run: Any

    @classmethod
    def check(cls) -> None:
        wandb: Any = import_module("wandb")
        sends = wandb.setup().settings.mode in ("online", "run", "shared")
        if sends and not wandb.login(prompt=False, verify=False):
            raise ConfigError("the logger wandb needs a login: run `wandb login`, or set WANDB_MODE=offline")

    def open(self, started: Started) -> None:
        wandb: Any = import_module("wandb")
        folder = own_folder(started, "wandb")
        kept = folder / "id"
        if not kept.exists():
            write_text(kept, f"{started.trial}-{secrets.token_hex(3)}\n")
        arm = {f"axis/{path}": value for path, value in started.arm.items()}
        self._run = wandb.init(
            project=re.sub(r"[/\\#?%:]", "-", started.study)[:_LONGEST],
            group=", ".join(f"{path}={value}" for path, value in started.arm.items())[:_LONGEST] or None,
            name=started.trial,
            id=kept.read_text().strip(),
            resume="allow",
            job_type="train",
            config={**flat(started.config), **arm},
            dir=started.folder,
            settings=wandb.Settings(reinit="create_new", console="off", silent=True),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self, outcome: Outcome, reason: str) -> None:
        self._run.summary["status"] = outcome
        if reason:
            self._run.summary["error"] = reason
        # 255 is what W&B has for Ctrl-C.
        self._run.finish(exit_code={"done": 0, "failed": 1, "stopped": 255}[outcome])
