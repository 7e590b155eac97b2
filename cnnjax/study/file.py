"""Experiment files: ordinary Python that defines `experiment`, `study`, or both; and a `card`, if it is a recipe."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, ValidationError

from cnnjax.cards import Card, Claim
from cnnjax.code import remember, remember_all, texts
from cnnjax.config import explain, explain_declaration, replace
from cnnjax.data.loader import EXPERIMENT
from cnnjax.errors import CnnjaxError, ConfigError, EndsProcess, did_you_mean, surviving, unknown
from cnnjax.experiment import Experiment
from cnnjax.records.config_json import ConfigRecord
from cnnjax.run.directory import RunDirectory
from cnnjax.study.study import Study
from cnnjax.study.values import labelled, text


@dataclass(frozen=True)
class ExperimentFile:
    """What an experiment file says. question: its docstring. study: its own, or one of its experiment without axes.
    card: None where it has none."""

    path: Path
    question: str
    experiment: Experiment
    study: Study
    card: Card | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def load(path: Path | str, *, defined_in: Path | str | None = None) -> ExperimentFile:
    """Run an experiment file and take its `experiment`, `study` and `card`. A run's folder stands for fine-tuning it.

    defined_in: of a run, the experiment file with its own models, data or optimizers.

    Raises ConfigError where it does not exist, does not run, defines neither experiment nor study, where its card
    asks for what its study does not have, or where it is no run and defined_in is given.
    """
    path = Path(path)
    is_run = ConfigRecord.at(path).is_file() or (path / "trials").is_dir()
    need_file(path, defined_in, is_run=is_run)
    if is_run:
        return _from_run(path)
    if path.is_dir():
        files = sorted(map(str, path.glob("*.py")))
        there = f"name one of its files: {', '.join(files)}" if files else "and there is no experiment file in it"
        raise ConfigError(f"{path} is a folder, {there}")
    if not path.is_file():
        near = sorted(str(other) for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        there = f".{did_you_mean(str(path), near)} There are: {', '.join(near)}" if near else ""
        raise ConfigError(f"no experiment file {path}{there}")
    module = _run(path)
    study, experiment = getattr(module, "study", None), getattr(module, "experiment", None)
    if not isinstance(study, Study | None) or not isinstance(experiment, Experiment | None):
        raise ConfigError(f"{path}: `experiment` must be an Experiment and `study` a Study")
    if study is None and experiment is None:
        raise ConfigError(
            f"{path} defines no `experiment` and no `study`; it needs e.g.\n"
            "  from cnnjax import Experiment, SmallCNN\n  experiment = Experiment(model=SmallCNN())"
        )
    study = study or Study(experiment)
    card = getattr(module, "card", None)
    if not isinstance(card, Card | None):
        raise ConfigError(f"{path}: `card` must be a Card")
    if card is not None:
        _check_card(path, card, study)
    question = inspect.cleandoc(module.__doc__ or "")
    return ExperimentFile(path, question, experiment or study.experiment, study, card)


def need_file(target: Path | str, defined_in: Path | str | None, *, is_run: bool) -> None:
    """Run the experiment file that a run needs. Raises ConfigError where one is given and the target is no run."""
    if defined_in is None:
        return
    if not is_run:
        raise ConfigError(f"--file {defined_in} is for a run that needs it, and {target} is no run: leave it out")
    load(defined_in)


def _check_card(path: Path, card: Card, study: Study) -> None:
    """Raise ConfigError where the study has not the seeds, the axes or the values that its card speaks of."""
    if card.band is not None and study.all_axes:
        raise ConfigError(f"{path}: card.band is of one arm, and the study has axes ({', '.join(study.all_axes)})")
    if card.band is not None and card.band.n > len(study.seed_values):
        raise ConfigError(
            f"{path}: card.band.n = {card.band.n}, and the study has {len(study.seed_values)} seeds: give it "
            f"study = Study(experiment, seeds={card.band.n})"
        )
    for claim in card.claims:
        for arm in (*claim.of, *claim.against):
            _check_arm(path, claim, arm, study)


def _check_arm(path: Path, claim: Claim, arm: Mapping[str, Any], study: Study) -> None:
    where = f"{path}: claim {claim.text!r}"
    for axis, value in arm.items():
        if axis not in study.levels:
            raise ConfigError(f"{where}: {unknown('axis', axis, study.levels)}")
        values = [labelled(other) for other in study.levels[axis]]
        if labelled(value) not in values:
            raise ConfigError(f"{where}: {axis} has no value {text(value)}; it has {', '.join(map(str, values))}")


def _from_run(path: Path) -> ExperimentFile:
    """A run's experiment with the run's weights to start from, and as many classes as the data will have."""
    experiment = replace(RunDirectory(path).experiment(), {"initial": str(path), "model.num_classes": None})
    named = path.with_name(f"{path.resolve().name}_tuned.py")
    return ExperimentFile(named, f"Starting from {path}.", experiment, Study(experiment))


def _run(path: Path):
    # Under its own name, so that classes it defines can be found again, and beside its neighbours' modules.
    name = f"{EXPERIMENT}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise ConfigError(f"{path} is not a Python file: an experiment file ends in .py")
    module = importlib.util.module_from_spec(spec)
    folder = path.parent.resolve()
    _refuse_namesakes(folder)
    # Read once: what runs is what is remembered, though the file may be edited meanwhile.
    source = _read(spec.loader, path)
    text = _decoded(source, path)
    sys.modules[name] = module
    # It stays there, as a script's folder does: functions of the file may import their neighbours when they are called.
    sys.path[:] = [str(folder), *(other for other in sys.path if other != str(folder))]
    try:
        # Not imported but run: Ctrl-C waits for imports.
        remember(module, text)
        code = spec.loader.source_to_code(source, spec.loader.path)
        with surviving():
            exec(code, vars(module))
        remember_all()
    except ValidationError as error:
        raise ConfigError(f"{path}{_line(error, path)}: {explain(error)}") from error
    except PydanticUserError as error:
        raise ConfigError(f"{path}{_line(error, path)}: {explain_declaration(error)}") from error
    except CnnjaxError as error:
        raise ConfigError(f"{path}{_line(error, path)}: {error}") from error
    except Exception as error:
        raised = error.__cause__ if isinstance(error, EndsProcess) else error
        said = f"{type(raised).__name__}: {raised}"
        raise ConfigError(f"{path}{_line(raised or error, path)} does not run: {said}") from error
    return module


def _read(loader: SourceFileLoader, path: Path) -> bytes:
    try:
        return loader.get_data(loader.path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _decoded(source: bytes, path: Path) -> str:
    """The text of an experiment file. Raises ConfigError, with the line, where its bytes are no text."""
    try:
        text = importlib.util.decode_source(source)
    except UnicodeDecodeError as error:
        line, byte = source[: error.start].count(b"\n") + 1, source[error.start]
        raise ConfigError(
            f"{path} line {line} does not run: its byte 0x{byte:02x} is no UTF-8; save the file as UTF-8, or name its "
            "encoding in the first line"
        ) from None
    except SyntaxError as error:
        raise ConfigError(f"{path} line 1 does not run: {error.msg}") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigError(f"{path} line {line} does not run: there is a NUL byte in it; take that out")
    return text


def _refuse_namesakes(folder: Path) -> None:
    """Raise ConfigError where a module beside the file has the name of another of the user's that is loaded already."""
    for name, (file, _) in texts().items():
        own = [folder / f"{name}.py", folder / name / "__init__.py"]
        loaded = Path(file).resolve()
        if "." not in name and any(path.is_file() and path != loaded for path in own):
            raise ConfigError(
                f"{folder / name} is not what would be imported: {loaded} has that name already in this process; give "
                "one of them another name, or load the two experiment files in processes of their own"
            )


def _line(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno and Path(error.filename or path).resolve() == path.resolve():
        return f" line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    return f" line {lines[-1]}" if lines else ""
