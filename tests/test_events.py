"""What sinks hear of a training, in which order; that loggers are checked first and can fail without harm."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

import jax
import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, sweep
from cnnjax.config import replace
from cnnjax.errors import ConfigError, Interrupted
from cnnjax.events import EpochEnded, Failed, Planned, Skipped, Started, StepTaken
from cnnjax.loggers import Logger, logger_class, registry
from cnnjax.run.directory import RunDirectory
from cnnjax.run.loop import run_trials
from cnnjax.run.program import Program

# 9 training examples in batches of 4: 3 steps an epoch, of which the last begins the next, and 5 in all.
TINY = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=4, width=4, classes=2, examples=12, test_examples=4),
    optim=SGD(learning_rate=0.01),
    batch_size=4,
    epochs=2,
    validation=3,
)
DIVERGING = replace(TINY, {"optim.learning_rate": 1e30})
ONE = Options(Hardware(devices=1), checkpoint_steps=2)


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Sink:
    """Notes the kind and the step of each event by trial; `act` is called with each before."""

    def __init__(self, act=lambda event: None):
        self.act, self.events = act, []

    def __call__(self, event):
        self.act(event)
        self.events.append(event)

    @property
    def seen(self) -> dict[str, str]:
        """`Started 0, StepTaken 1, ...` by trial id."""
        seen = defaultdict(list)
        for event in self.events:
            seen[event.trial].append(f"{type(event).__name__} {getattr(event, 'step', event)}")
        return {trial: ", ".join(each) for trial, each in seen.items()}


WHOLE = (
    "Started 0, StepTaken 1, StepTaken 2, Saved 2, StepTaken 3, EpochEnded 3, StepTaken 4, Saved 4, StepTaken 5, "
    "EpochEnded 5, Saved 5, Finished 5"
)


@pytest.fixture(scope="module")
def program() -> Program:
    return Program(TINY, hardware=ONE.hardware)


def trained(program, folder: Path, *experiments, sinks, options=ONE, stop=None) -> None:
    directories = [RunDirectory(folder / experiment.id) for experiment in experiments]
    for directory in directories:
        directory.path.mkdir(parents=True, exist_ok=True)
    run_trials(program, experiments, directories, stop=stop or threading.Event(), options=options, sinks=sinks)


@pytest.fixture(scope="module")
def whole(program, tmp_path_factory) -> tuple[Path, Sink]:
    folder, sink = tmp_path_factory.mktemp("events"), Sink()
    trained(program, folder, TINY, sinks=[sink])
    return folder / TINY.id, sink


def test_a_training_from_begin_to_end(whole):
    folder, sink = whole
    assert sink.seen == {TINY.id: WHOLE}
    started, finished = sink.events[0], sink.events[-1]
    assert (started.steps, started.folder, started.out) == (5, folder, folder)
    assert Experiment.model_validate(started.config) == TINY
    rows = [event.row for event in sink.events if isinstance(event, EpochEnded)]
    assert rows == read_rows(folder / "metrics.jsonl")
    assert finished.metrics == RunDirectory(folder).finished().metrics
    epoch = next(event for event in sink.events if isinstance(event, EpochEnded))
    assert epoch.validation_count == 3
    assert epoch.figures["examples_per_second"] * epoch.figures["epoch_seconds"] == pytest.approx(3 * 4)
    assert epoch.figures["host_memory_bytes"] > 1e7
    first, second, third = (event.sums for event in sink.events if isinstance(event, StepTaken) and event.step <= 3)
    mean = (first["loss"] + second["loss"] + third["loss"]) / 12
    assert epoch.row["train_loss"] == pytest.approx(float(mean))


@pytest.mark.parametrize("step", [1, 3, 5])
def test_one_that_crashed_and_continues(program, whole, tmp_path, step):
    def crash(event):
        if isinstance(event, StepTaken) and event.step == step:
            raise ValueError("out of luck")

    after, before = Sink(crash), Sink()
    with pytest.raises(ValueError, match="out of luck"):
        trained(program, tmp_path, TINY, sinks=[before, after])
    head = WHOLE[: WHOLE.index(f"StepTaken {step}")]
    assert before.seen == {TINY.id: f"{head}StepTaken {step}, Failed {step}"}
    assert (before.events[-1].cause, before.events[-1].reason) == ("crashed", "ValueError: out of luck")
    assert after.seen == {TINY.id: f"{head}Failed {step}"}
    continued, saved = Sink(), {1: 0, 3: 2, 5: 4}[step]
    trained(program, tmp_path, TINY, sinks=[continued])
    tail = WHOLE[WHOLE.index(f"StepTaken {saved + 1}") :]
    assert continued.seen == {TINY.id: f"Started {saved}, {tail}"}
    assert (tmp_path / TINY.id / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()


def test_one_that_is_interrupted_saves_and_then_just_ends(program, tmp_path):
    stop = threading.Event()
    sink = Sink(lambda event: stop.set() if getattr(event, "step", 0) == 2 else None)
    with pytest.raises(Interrupted):
        trained(program, tmp_path, TINY, sinks=[sink], stop=stop)
    assert sink.seen == {TINY.id: "Started 0, StepTaken 1, StepTaken 2, Saved 2"}


def test_trials_that_train_together_have_their_own_events(tmp_path):
    second = replace(TINY, {"seed": 1})
    sink = Sink()
    trained(Program(TINY, packed=3, hardware=ONE.hardware), tmp_path, TINY, DIVERGING, second, sinks=[sink])
    failed = next(event for event in sink.events if isinstance(event, Failed))
    assert (failed.trial, failed.cause) == (DIVERGING.id, "diverged")
    assert sink.seen[TINY.id] == sink.seen[second.id] == WHOLE
    assert sink.seen[DIVERGING.id].endswith(f"Failed {failed.step}")
    assert failed.reason in (tmp_path / DIVERGING.id / "log.txt").read_text()
    losses = {event.trial: event.loss for event in sink.events if isinstance(event, StepTaken) and event.step == 1}
    assert losses[TINY.id] != losses[second.id]


def test_a_study_says_what_it_will_do_and_what_is_done_already(tmp_path):
    study = Study(TINY, seeds=2)
    sink, again = Sink(), Sink()
    outcome = sweep(study, tmp_path, name="mine", options=ONE, sinks=[sink])
    assert [type(event) for event in sink.events[:2]] == [Planned, Planned]
    starts = [event for event in sink.events if isinstance(event, Started)]
    assert {(event.trial, event.study, event.out) for event in starts} == {
        (trial, "mine", tmp_path) for trial in outcome.done
    }
    sweep(study, tmp_path, name="mine", options=ONE, sinks=[again])
    assert [type(event) for event in again.events] == [Planned, Planned, Skipped, Skipped]


def test_files_are_written_before_loggers_and_sinks_hear(program, tmp_path):
    heard = []

    class First(Logger):
        def open(self, started):
            heard.append(("logger", "begin" in (started.folder / "log.txt").read_text()))

        def write(self, step, numbers):
            if "epoch" in numbers:
                heard.append((step, len(read_rows(tmp_path / TINY.id / "metrics.jsonl"))))

        def close(self, outcome, reason):
            heard.append((outcome, RunDirectory(tmp_path / TINY.id).finished().status))

    options = Options(ONE.hardware, log=(First,), log_every=2)
    sink = Sink(lambda event: heard.append("sink") if isinstance(event, Started) else None)
    trained(program, tmp_path, TINY, sinks=[sink], options=options)
    assert heard == [("logger", True), "sink", (3, 1), (5, 2), ("done", "done")]


def test_only_the_first_process_has_sinks(program, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)

    class Never(Logger):
        def open(self, started):
            raise AssertionError

    sink = Sink()
    trained(program, tmp_path, TINY, sinks=[sink], options=Options(ONE.hardware, log=(Never,)))
    assert sink.events == []
    assert not (tmp_path / TINY.id / "metrics.jsonl").exists()


# --- loggers


class Recorder(Logger, name="recorder"):
    """Keeps what it is given; one of the user's own."""

    made: ClassVar[list[Recorder]] = []

    def open(self, started):
        self.rows, self.outcome = {}, None
        Recorder.made.append(self)

    def write(self, step, numbers):
        for name, value in numbers.items():
            self.rows.setdefault(step, {})[name] = value

    def close(self, outcome, reason):
        self.outcome = outcome


def test_a_logger_gets_every_nth_step_every_epoch_and_the_end(program, whole, tmp_path):
    Recorder.made.clear()
    trained(program, tmp_path, TINY, sinks=[], options=Options(ONE.hardware, log=("recorder",), log_every=2))
    [logger] = Recorder.made
    assert list(logger.rows) == [2, 3, 4, 5]
    assert set(logger.rows[2]) == {"step/loss", "step/accuracy"}
    machine = {"machine/epoch_seconds", "machine/examples_per_second", "machine/host_memory_bytes"}
    assert set(logger.rows[3]) >= {"epoch", "learning_rate", "train_loss", "validation_accuracy"} | machine
    assert set(logger.rows[5]) >= {"train_loss", "test_loss", "test_accuracy"}
    assert logger.outcome == "done"
    assert (tmp_path / TINY.id / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()


def test_a_logger_hears_how_a_training_ended(program, tmp_path):
    Recorder.made.clear()
    stop = threading.Event()
    options = Options(ONE.hardware, log=(Recorder,))
    trained(program, tmp_path, DIVERGING, sinks=[], options=options)
    with pytest.raises(Interrupted):
        trained(program, tmp_path, TINY, sinks=[lambda event: stop.set()], options=options, stop=stop)
    assert [logger.outcome for logger in Recorder.made] == ["failed", "stopped"]


@pytest.mark.parametrize("fails", ["open", "write", "flush", "close"])
def test_a_logger_that_fails_is_switched_off_and_the_training_goes_on(program, whole, tmp_path, fails):
    class Failing(Recorder, name="failing"):
        pass

    def fail(*_):
        raise OSError("the network is down")

    setattr(Failing, fails, fail)
    with pytest.warns(UserWarning, match="the logger failing failed and is switched off .*the network is down"):
        trained(program, tmp_path, TINY, sinks=[], options=Options(ONE.hardware, log=("failing",), log_every=1))
    log = (tmp_path / TINY.id / "log.txt").read_text()
    assert log.count("switched off") == 1
    assert "done:" in log
    assert (tmp_path / TINY.id / "metrics.jsonl").read_bytes() == (whole[0] / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("name", "installs"),
    [
        ("tensorboard", "pip install 'tensorboard>=2.20'"),
        ("wandb", "pip install 'wandb>=0.31'"),
        ("mlflow", "pip install 'mlflow-skinny>=3.4' 'sqlalchemy>=2' 'alembic>=1.10'"),
    ],
)
def test_a_logger_that_is_not_installed_is_refused_with_the_command(name, installs, monkeypatch):
    monkeypatch.setattr(registry, "_is_installed", lambda module: False)
    with pytest.raises(ConfigError) as error:
        Options(log=(name,))
    assert str(error.value).endswith(f"not installed: {installs}")


def test_a_folder_that_is_called_like_a_library_is_no_library(tmp_path, monkeypatch):
    (tmp_path / "emptied").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not registry._is_installed("emptied")


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_the_command_line_refuses_an_unknown_logger_before_anything_else(run, tmp_path, command):
    (tmp_path / "tiny.py").write_text(
        f"from cnnjax import Experiment\nexperiment = Experiment.from_json({TINY.to_json()!r})"
    )
    dry = ["--dry-run"] if command == "sweep" else []
    code, _, error = run(command, "tiny.py", "--log", "tensorbord", *dry)
    assert code == 1
    assert "'tensorbord' is no logger. Did you mean 'tensorboard'?" in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"log": "tensorboard"}, "it takes several loggers"),
        ({"log": (Sink,)}, "subclasses of cnnjax.loggers.Logger"),
        ({"log_every": 0}, "log_every = 0"),
    ],
)
def test_what_is_no_logger_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Options(**fields)


def test_options_with_loggers_are_values():
    assert Options(log=("recorder", Recorder)) == Options(log=[Recorder])
    assert logger_class("recorder") is Recorder
