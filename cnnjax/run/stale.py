"""Whether what a run directory holds was made by the code and the data of now, and what to do where it was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from cnnjax.code import Code, changes, code_of
from cnnjax.config import digest
from cnnjax.errors import ConfigError, DataError, RunError
from cnnjax.experiment import Experiment, analysis_of
from cnnjax.files import inside
from cnnjax.records.checkpoint_notes import CheckpointNotes
from cnnjax.records.code_json import REMEDY, CodeRecord
from cnnjax.records.metrics_jsonl import RowsEntry
from cnnjax.records.result_json import ResultRecord
from cnnjax.records.used_run import UsedRun
from cnnjax.run.checkpoint import Checkpoints, NoCheckpoints
from cnnjax.run.directory import RunDirectory
from cnnjax.run.packing import ALONE, Packing

Policy = Literal["stop", "rerun", "keep", "separate"]
"""What to do with what other code or data made: refuse it; train anew; use it all the same; train in a folder apart."""

WAYS = (
    "  --stale rerun      train again; what is there is moved into a folder named stale beside it\n"
    "  --stale keep       use what is there all the same; reports say first that it is mixed\n"
    "  --stale separate   leave it as it is, and train all in {apart}"
)


@dataclass(frozen=True)
class Origin:
    """What made a result or a checkpoint.

    codes: digests of the code, the newest last; None in it is code of cnnjax alone. known: whether they were recorded.
    data: fingerprint of the data. step: of the checkpoint; None for a finished training. packing: of the trials that
    were trained together, and rows: of metrics.jsonl; of a checkpoint alone. params, macs: of the network; None of a
    checkpoint. used_runs: whose weights it uses, by what they are to it.
    """

    id: str | None
    codes: tuple[str | None, ...]
    known: bool
    data: str | None
    step: int | None = None
    packing: Packing = ALONE
    rows: RowsEntry | None = None
    params: int | None = None
    macs: int | None = None
    used_runs: Mapping[str, UsedRun] = field(default_factory=dict)


def check_policy(stale: str) -> None:
    """Raise ConfigError unless `stale` is a `Policy`."""
    if stale not in get_args(Policy):
        raise ConfigError(f"--stale {stale}: must be one of {', '.join(get_args(Policy))}")


def origin(directory: RunDirectory) -> Origin | None:
    """What made the result in a run directory, or its newest checkpoint where it has none; None for neither.

    A training that crashed has no result. Raises RunError where a file is damaged.
    """
    result = directory.finished()
    if result is not None and not result.crashed:
        return replace(_made_by(result), params=result.params, macs=result.macs)
    if not directory.checkpoints.is_dir():
        return None
    checkpoints = Checkpoints(directory.checkpoints, read_only=True)
    try:
        return saved(checkpoints)
    finally:
        checkpoints.close()


def saved(checkpoints: Checkpoints | NoCheckpoints) -> Origin | None:
    """What made the newest checkpoint; None where there is none."""
    notes = checkpoints.notes()
    if notes is None:
        return None
    return replace(
        _made_by(notes), step=checkpoints.latest(), packing=Packing(notes.packed, notes.way), rows=notes.rows
    )


def _made_by(held: ResultRecord | CheckpointNotes) -> Origin:
    return Origin(
        held.id,
        held.codes,
        known=bool(held.codes),
        data=held.data_fingerprint,
        used_runs=held.used_runs,
    )


def refuse_another(made: Origin, id: str, path: Path) -> None:
    """Raise RunError where a checkpoint or a result is of another experiment than the one with this `id`."""
    if made.id not in (None, id):
        what = "the result" if made.step is None else "checkpoints"
        raise RunError(
            f"{path} holds {what} of another experiment ({made.id}, not {id}), though no config.json says so: choose "
            "another folder with --out, or delete this one"
        )


def reasons(made: Origin, code: Code, data: str | None, sources: Path) -> list[str]:
    """Why what `made` describes is stale: what differs from `code` and from the data with fingerprint `data`.

    sources: the folder in which the code of each digest is kept. Empty where nothing differs.
    """
    found = [f"{text}" for before in made.codes if before != code.digest for text in _changed(before, code, sources)]
    if not made.known and code.digest is not None:
        places = ", ".join(entry.place for entry in code.definitions[:3])
        found.append(
            f"it was trained before the code of an experiment was recorded: whether {places} changed is unknown"
        )
    if data is not None and made.data not in (None, data):
        found.append(f"the data are others now (fingerprint {made.data} then, {data} now)")
    return list(dict.fromkeys(found))


def refuse_stale(directory: RunDirectory, trained: Experiment, stale: str) -> None:
    """Raise RunError where other code of the user's own made a run's weights, unless `stale` is "keep"."""
    if stale not in ("stop", "keep"):
        raise ConfigError(f"--stale {stale}: must be stop or keep")
    made = origin(directory)
    why = reasons(made, code_of(trained), None, directory.sources) if made is not None else []
    if why and stale == "stop":
        lines = "\n".join(f"  {text}" for text in why)
        raise RunError(
            f"{directory.path} was trained with other code than there is now:\n{lines}\nbring that back "
            f"({directory.sources} has it), or give --stale keep to use its weights with the code of now"
        )


def _changed(before: str | None, code: Code, sources: Path) -> list[str]:
    held = kept(sources, before)
    if held is None:
        return [f"its code was {before}, of which {sources} has no copy; it is {code.digest} now"]
    then = f"trained with the code of {held[1]}"
    written = {entry.place: _written(entry.file) for entry in code.definitions}
    texts = []
    for text in changes(held[0], code):
        since = next((when for place, when in written.items() if when and text.startswith(f"{place} ")), None)
        texts.append(f"{text} ({then}{f'; the file was written {since}' if since else ''})")
    return texts


def _written(file: str) -> str | None:
    try:
        return _time(Path(file).stat().st_mtime) if file else None
    except OSError:
        return None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def refusal(what: str, why: Iterable[str], apart: Path) -> str:
    """The message that stops a command: what is stale, why, and the ways on."""
    lines = "\n".join(f"  {text}" for text in why)
    ways = WAYS.format(apart=apart)
    return f"{what} was made by other code or data than there are now, and is not used:\n{lines}\n{ways}"


def apart(path: Path, code: Code, data: Any) -> Path:
    """The folder beside `path` for what this code makes of these data."""
    return path.with_name(f"{path.resolve().name}-{digest([code.digest, data], 6)}")


def settle(directory: RunDirectory, experiment: Experiment, policy: Policy) -> Path | None:
    """Make sure that what a run directory holds may be used for `experiment`, as `policy` says.

    Returns the folder to train in instead, where that is asked for. Raises RunError where there is something stale, and
    in any case for a checkpoint of other data and for a result of a network of another size.
    """
    made = origin(directory)
    if made is None:
        return None
    refuse_another(made, experiment.id, directory.path)
    code, data = code_of(experiment), _fingerprint(experiment, made)
    why = reasons(made, code, data, directory.sources)
    if not why:
        return None
    elsewhere = apart(directory.path, code, data)
    if policy == "stop":
        raise RunError(refusal(f"what {directory.path} holds", why, elsewhere))
    if policy == "separate":
        return elsewhere
    if policy == "rerun":
        directory.set_aside()
        return None
    refuse_in_any_case(made, directory.path, data=data, analysis=lambda: analysis_of(experiment))
    return None


def _fingerprint(experiment: Experiment, made: Origin) -> str | None:
    """Of the experiment's data; None where they are gone, which a finished training does not need."""
    try:
        # What this process has loaded may have been changed in place since; a training that goes on looks at its end.
        return (experiment.data.read() if made.step is None else experiment.data.load()).fingerprint
    except DataError:
        if made.step is None:
            return None
        raise


def refuse_in_any_case(made: Origin, path: Path, *, data: str | None, analysis: Callable[[], Any]) -> None:
    """Raise RunError for what cannot be used even where it is asked for."""
    if made.step is not None:
        if data is not None and made.data not in (None, data):
            raise RunError(
                f"{path} was begun on other data (fingerprint {made.data}, now {data}): bring those back, or train it "
                "again on these with --stale rerun"
            )
        return
    found = analysis()
    for name in ("params", "macs"):
        there, here = getattr(made, name), getattr(found, name)
        if there not in (None, here):
            raise RunError(
                f"{path} is the result of a network with {there:,} {name}, but this one has {here:,}: it cannot stand "
                "for it; --stale rerun trains it again"
            )


# --- the code of each digest, once


def keep(code: Code, sources: Path) -> None:
    """Write the code into the folder `sources`, where it is not there yet."""
    if code.digest is None or CodeRecord.of_digest(code.digest, sources).exists():
        return
    inside(sources.parent, sources.name)
    CodeRecord.of(code).write(CodeRecord.of_digest(code.digest, sources))


def kept(sources: Path, named: str | None) -> tuple[Code, str] | None:
    """The code of a digest and when it was first used here; None where it is not kept."""
    if named is None:
        return Code(), "cnnjax alone"
    held = CodeRecord.read(CodeRecord.of_digest(named, sources), remedy=REMEDY)
    return None if held is None else (held.code, held.since)
