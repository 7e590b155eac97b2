"""What a trial leaves when it is over: result.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cnnjax.config import plain
from cnnjax.data import Dataset
from cnnjax.experiment import Experiment
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.trial_result import digest_of_file
from cnnjax.records.used_run import fields_of
from cnnjax.run.packing import Packing
from cnnjax.run.program import Program
from cnnjax.run.trial import Trial
from cnnjax.training.evaluated import evaluations


def evaluated_parts(experiment: Experiment, split: str) -> dict[str, str | None]:
    """The parts of results that a split gives, with the method whose weights each is of; None: the trained ones."""
    measured = evaluations(experiment.methods, experiment.optim)
    return {f"{split}_{name}" if name else split: method for name, method in measured.items()}


def named(part: str, summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary by the names they have in rows and results: `test_loss`."""
    return {f"{part}_{name}": value for name, value in summary.items() if isinstance(value, float)}


def finite(numbers: Mapping[str, Any]) -> bool:
    """Whether no number is infinite or NaN."""
    return all(math.isfinite(value) for value in numbers.values() if isinstance(value, float))


def _packing(packing: Packing) -> dict[str, Any]:
    if packing.width == 1:
        return {}
    return {"way": packing.way, **({} if packing.gain is None else {"gain": round(packing.gain, 3)})}


def write_result(
    trial: Trial,
    program: Program,
    dataset: Dataset,
    *,
    steps: int,
    outcome: Mapping[str, Any],
) -> None:
    """Write result.json. outcome: status and metrics; where it failed, error and cause."""
    skipped = dataset.skipped
    ResultRecord(
        id=trial.id,
        codes=trial.codes,
        seed=trial.experiment.seed,
        params=program.analysis.params,
        macs=program.analysis.macs,
        steps=steps,
        examples={part: size for part, size in program.sizes.items() if size},
        train_seconds=trial.train_seconds,
        compile_seconds=trial.seconds["compile"],
        seconds=dict(trial.seconds),
        compilations=program.compilations,
        memory=program.memory,
        **({} if trial.energy is None else {"energy": trial.energy}),
        packed=program.packed,
        packing=_packing(program.packing),
        **fields_of(program.used_runs),
        data_fingerprint=dataset.fingerprint,
        # Images that could not be decoded, by part, where there were some.
        **({"skipped": dict(skipped)} if skipped else {}),
        **({} if trial.unmoved is None else {"unmoved": trial.unmoved}),
        **outcome,
        config=plain(trial.experiment),
        rows=trial.directory.rows(),
        # One that failed has none of these.
        evaluation=digest_of_file(trial.directory.evaluation) if outcome["status"] == "done" else None,
        environment=digest_of_file(trial.directory.environment),
        checkpoint=trial.checkpoints.checksum() if outcome["status"] == "done" else None,
    ).write(trial.directory.result)
