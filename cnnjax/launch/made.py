"""Trials made from the plain data in a study's folder, and checked to be here what was planned."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from cnnjax.analysis.layers import SizeRow
from cnnjax.code import Code, code_of
from cnnjax.config import Named
from cnnjax.config.named import tuples
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.experiment import Experiment
from cnnjax.records.code_json import CodeRecord
from cnnjax.records.plan_json import TrialEntry
from cnnjax.records.work_json import WorkRecord
from cnnjax.run.stale import Origin, Policy, reasons
from cnnjax.study.file import load
from cnnjax.study.plan import PlannedTrial

SWEEP = "run its sweep once more: that writes it"


class Made:
    """Makes the trials of the study in the folder `out`.

    stale: what is done where the user's own code is other than what was planned ("keep" trains with it all the same).
    """

    def __init__(self, out: Path, work: WorkRecord, stale: Policy):
        self.out, self.work, self._stale = out, work, stale

    def define(self, what: str) -> None:
        """Define the user's own classes, which `what` has, by running the experiment file. Raises RunError without."""
        if self.work.file is None:
            raise RunError(
                f"{self.out} is a study of classes of its own ({what}) that was started from Python, without an "
                "experiment file: no other process can make them. Write the study into a file, and `cnnjax sweep FILE` "
                "lets others join"
            )
        if not Path(self.work.file).exists():
            raise RunError(
                f"the experiment file {self.work.file} of {self.out} is not there on this machine: put it where all "
                "machines see it, and start the sweep from there"
            )
        load(Path(self.work.file))

    def trial(self, entry: TrialEntry, content: dict[str, Any], code: str | None) -> PlannedTrial:
        """The trial of an entry of plan.json, whose experiment is `content`, with the user's own code of that digest.

        Raises RunError where it is not here what was planned.
        """
        experiment = self._experiment(entry.id, content)
        own = code_of(experiment)
        self.check_code(f"trial {entry.id}", own, code)
        self._check_data(entry, experiment)
        return PlannedTrial(
            experiment,
            Named({path: tuples(value) for path, value in entry.arm.items()}),
            params=entry.params or 0,
            macs=entry.macs or 0,
            steps=entry.steps or 0,
            code=own,
            data=entry.data_fingerprint,
            matched=Named({path: tuples(value) for path, value in entry.matched.items()}),
            kept=Named(entry.kept),
            sizes=tuple(SizeRow(row.size, row.epochs, row.steps, row.macs) for row in entry.sizes),
            training_macs=entry.training_macs or entry.macs or 0,
        )

    def check_code(self, what: str, here: Code, planned: str | None) -> None:
        """Raise RunError where `what` runs other code here than that of the digest that was planned."""
        if here.digest == planned or self._stale == "keep":
            return
        made = Origin(None, (planned,), known=True, data=None)
        why = reasons(made, here, None, CodeRecord.at(self.out))
        raise RunError(f"{what} was planned with other code than there is here: {'; '.join(why)}")

    def _experiment(self, id: str, content: dict[str, Any]) -> Experiment:
        try:
            experiment = Experiment.from_json(json.dumps(content))
        except ConfigError as error:
            raise RunError(f"trial {id} of {self.out} cannot be made here: {error}") from None
        if experiment.id != id:
            raise RunError(
                f"trial {id} of {self.out} is another experiment here ({experiment.id}): its classes have other fields "
                f"than when it was planned, by cnnjax {self.work.cnnjax}"
            )
        return experiment

    def _check_data(self, entry: TrialEntry, experiment: Experiment) -> None:
        """Raise RunError where the data are not here, or are others than were planned with.

        What is not here is no failure of the trial: other machines have it.
        """
        try:
            here = experiment.data.load().fingerprint
        except DataError as error:
            raise RunError(f"the data of {self.out} cannot be read on this machine: {error}") from None
        if entry.data_fingerprint not in (None, here):
            raise RunError(
                f"trial {entry.id} of {self.out} was planned with other data than there are here (fingerprint "
                f"{entry.data_fingerprint} there, {here} here): bring the same data to this machine"
            )


def read_work(out: Path) -> WorkRecord:
    """The work.json of a study's folder. Raises RunError where it cannot be worked on."""
    work = WorkRecord.read(WorkRecord.at(out), remedy=SWEEP)
    if work is None:
        what = "no folder that this machine sees" if not out.is_dir() else "no study that others can work on"
        raise RunError(
            f"{out} is {what} ({WorkRecord.filename} is not there): `cnnjax sweep FILE --out {out}` writes it, and all "
            "machines that work on a study must see its folder"
        )
    version = metadata.version("cnnjax")
    if work.cnnjax != version:
        raise RunError(
            f"{out} was planned by cnnjax {work.cnnjax}, and this is {version}: trials of one study are trained by one "
            "version; install that one, or run the sweep once more with this one"
        )
    return work
