"""A training that is paused at the end of an epoch: continued, it is bitwise one that never was."""

from __future__ import annotations

import json

import pytest

from cnnjax import SGD, BatchNorm, Experiment, Hardware, Options, SmallCNN, Synthetic, train
from cnnjax.errors import ConfigError, Interrupted
from cnnjax.events import Finished, Paused, Planned, Saved, Started, StepTaken
from cnnjax.progress import StudyProgress
from cnnjax.records.metrics_jsonl import read_rows
from cnnjax.run.checkpoint import Checkpoints

# 18 training examples in batches of 8: an epoch ends after steps 3, 5, 7 and 9, some of them within a batch.
TINY = Experiment(
    model=SmallCNN(features=2, norm=BatchNorm(), dropout=0.2, dense=0),
    data=Synthetic(height=4, width=4, channels=1, classes=2, examples=20, test_examples=8),
    optim=SGD(learning_rate=0.05),
    batch_size=8,
    epochs=4,
)


def until(epoch: int | None) -> Options:
    return Options(Hardware(devices=1), until_epoch=epoch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(TINY, folder, options=until(None))
    return folder


def test_a_paused_training_continues_bitwise(whole, tmp_path):
    events = []
    for epoch in (1, 3):
        with pytest.raises(Interrupted, match=f"paused after epoch {epoch}; all saved"):
            train(TINY, tmp_path, options=until(epoch), sinks=[events.append])
        assert not (tmp_path / "result.json").exists()
        assert [row.epoch for row in read_rows(tmp_path / "metrics.jsonl")] == list(range(1, epoch + 1))
    assert [event.step for event in events if isinstance(event, Paused)] == [3, 7]
    assert [event.step for event in events if isinstance(event, Started)] == [0, 3]
    assert [event.step for event in events if isinstance(event, Saved)] == [3, 7]
    # Once more to where it stands takes no step.
    with pytest.raises(Interrupted):
        train(TINY, tmp_path, options=until(2), sinks=[events.append])
    assert [event.step for event in events if isinstance(event, StepTaken)] == [1, 2, 3, 4, 5, 6, 7]
    train(TINY, tmp_path, options=until(None))
    for name in ("metrics.jsonl", "evaluation.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    results = [json.loads((folder / "result.json").read_text()) for folder in (tmp_path, whole)]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert checksum(tmp_path) == checksum(whole)


def checksum(run) -> int:
    """Of the last step's whole state, bit for bit."""
    checkpoints = Checkpoints(run / "checkpoints", read_only=True)
    assert checkpoints.latest() == 9
    return checkpoints.notes().checksum


@pytest.mark.parametrize("epoch", [4, 9])
def test_a_pause_at_its_end_or_beyond_is_none(epoch, tmp_path):
    events = []
    assert train(TINY, tmp_path, options=until(epoch), sinks=[events.append])["status"] == "done"
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("epoch", [0, -1, 1.5, True])
def test_an_epoch_is_a_whole_number_from_one(epoch):
    with pytest.raises(ConfigError, match="until_epoch"):
        Options(until_epoch=epoch)


def test_progress_counts_the_steps_of_a_paused_trial_once():
    seen = []
    follow = StudyProgress(lambda done, total, note, *, before, work: seen.append((done, total, before, work)))
    place = {"steps": 9, "seed": 0, "config": {}, "folder": None, "study": "", "out": None}
    follow(Planned(trial="a", arm="first", steps=1))
    follow(Started(trial="a", step=0, **place))
    follow(StepTaken(trial="a", step=1, sums={}, summarize=dict))
    follow(Planned(trial="a", arm="first", steps=3))
    follow(Started(trial="a", step=1, **place))
    follow(StepTaken(trial="a", step=2, sums={}, summarize=dict))
    assert seen[-1] == (2, 3, 0, (2, 3, 0))
