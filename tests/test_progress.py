"""What is shown while it trains, and of what came out: an ETA that knows no compiling, percent, n."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from cnnjax.events import Elsewhere, EpochEnded, Failed, Planned, Skipped, Started, StepTaken
from cnnjax.progress import StudyProgress, TrainingProgress
from cnnjax.progress.parts import parts_table, result_table
from cnnjax.progress.showing import Pace, _bar, _lines, _moving, cost_of, hours
from cnnjax.records.result_json import ResultRecord


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-:--:--"), (0.4, "0:00:00"), (75, "0:01:15"), (17391, "4:49:51"), (360000, "100:00:00")],
)
def test_hours_minutes_and_seconds(seconds, text):
    assert hours(seconds) == text


def test_the_first_step_which_compiles_is_no_measure_of_the_others():
    clock = Clock()
    pace = Pace(clock)
    clock.now += 60  # compiling
    assert pace.left(1, 301) is None
    clock.now += 0.5
    assert pace.left(2, 301) == pytest.approx(0.5 * 299)
    clock.now += 1.5
    assert pace.left(3, 301) == pytest.approx(1.0 * 298)


def test_steps_of_an_earlier_call_took_no_time():
    clock = Clock()
    pace = Pace(clock)
    assert pace.left(900, 1000, before=900) is None
    clock.now += 30
    assert pace.left(901, 1000, before=900) is None
    clock.now += 2
    assert pace.left(902, 1000, before=900) == pytest.approx(2 * 98)
    # Another finished trial is found.
    assert pace.left(952, 1000, before=950) == pytest.approx(2 * 48)


def console(width: int = 200) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=False)


def test_a_log_has_a_line_every_ten_seconds_and_one_for_news():
    clock, screen = Clock(), console()
    show = _lines(screen, "wide", clock)
    for step in range(1, 5):
        clock.now += 4
        show(step, 6, f"loss {step}")
    clock.now += 2
    show(4, 6, "validation 50.00%", news=True)
    clock.now += 2
    show(6, 6, "")
    assert screen.file.getvalue().splitlines() == [
        "wide: 3/6 steps, 0:00:12, ETA 0:00:12, loss 3",
        "wide: 4/6 steps, 0:00:18, ETA 0:00:09, validation 50.00%",
        "wide: 6/6 steps, 0:00:20, ETA 0:00:00",
    ]


def test_the_bar_leaves_out_compiling_too_and_cuts_only_the_note():
    screen = console(80)
    bar = _bar(screen)
    show = _moving(bar, "wide")
    bar.tasks[0].total = None
    show(1, 101, "")
    assert bar.tasks[0].fields["left"] == "-:--:--"
    show(2, 101, "loss 0.1, validation 95.83% (n=144, epoch 3) [and] a long note that does not fit")
    assert bar.tasks[0].fields["left"] == "0:00:00"
    screen.print(bar.make_tasks_table(bar.tasks))
    [line] = screen.file.getvalue().splitlines()
    assert "2/101" in line
    assert "ETA 0:00:00" in line
    assert "loss 0.1, validation 95.83%" in line
    assert len(line) <= 80


def shown(table, width=120) -> list[list[str]]:
    screen = console(width)
    screen.print(table)
    return [line.split() for line in screen.file.getvalue().splitlines() if line.strip()]


RESULT = ResultRecord(
    id="a1",
    status="done",
    seed=3,
    params=13_700,
    macs=91_800,
    steps=1260,
    train_seconds=1.25,
    compile_seconds=2.5,
    examples={"train": 1294, "validation": 144, "test": 359},
    metrics={
        "train_loss": 0.01,
        "train_accuracy": 0.9985,
        "validation_loss": 0.1,
        "validation_accuracy": 139 / 144,
        "validation_top5_accuracy": 1.0,
        "test_loss": 0.08,
        "test_accuracy": 0.98,
        "test_top5_accuracy": 0.999,
    },
)


def test_a_result_is_a_table_in_percent_with_n_of_each_part():
    head, _, *rows = shown(result_table(RESULT))
    assert " ".join(head) == "part n accuracy, % top5 accuracy, % loss"
    assert rows[:3] == [
        ["train", "1,294", "99.85", "0.0100"],
        ["validation", "144", "96.53", "100.00", "0.1000"],
        ["test", "359", "98.00", "99.90", "0.0800"],
    ]
    said = " ".join(word for row in rows[3:] for word in row)
    assert said == (
        "one seed (3), so no spread; train: the last epoch, as trained on; 13.7k parameters, 91.8k MACs an image; "
        "1,260 steps in 1.2 s, compiled in 2.5 s"
    )


def test_a_part_without_classes_has_its_errors():
    rows = shown(parts_table({"test": {"count": 12, "loss": 1.5, "mean_squared_error": 3.0, "confusion": [[1]]}}))
    assert rows[0] == ["part", "n", "loss", "mean", "squared", "error"]
    assert rows[-1] == ["test", "12", "1.5000", "3.0000"]


def test_training_shows_each_epochs_validation_beside_the_loss():
    seen = []
    follow = TrainingProgress(
        lambda done, total, note, *, before, news=False, work: seen.append((done, note, before, news))
    )
    row = {"train_loss": 0.5, "validation_loss": 0.75}
    epoch = {"trial": "a", "epoch": 1, "validation_count": 1440, "figures": {}}
    follow(Started(trial="a", step=7, steps=9, seed=0, config={}, folder=Path(), study="", out=Path()))
    follow(StepTaken(trial="a", step=8, sums={"loss": 3.0, "count": 2}, summarize=dict))
    follow(EpochEnded(**epoch, step=8, row=row | {"validation_accuracy": 0.93125}))
    follow(StepTaken(trial="a", step=9, sums={"loss": 1.0, "count": 2}, summarize=dict))
    follow(EpochEnded(**epoch, step=9, row=row))
    validation = "validation accuracy 93.12% (n=1,440, epoch 1)"
    assert seen == [
        (8, "loss 1.5000", 7, False),
        (8, f"loss 0.5000, {validation}", 7, True),
        (9, "loss 0.5000, validation loss 0.7500 (n=1,440, epoch 1)", 7, True),
    ]


def test_a_study_tells_what_was_finished_before_from_what_it_does():
    seen = []
    follow = StudyProgress(lambda done, total, note, *, before, work: seen.append((done, total, note, before)))
    for trial, arm in (("a", "first"), ("b", "second"), ("c", "third")):
        follow(Planned(trial=trial, arm=arm, steps=60))
    follow(Skipped(trial="a", steps=60))
    follow(Started(trial="b", step=57, steps=60, seed=0, config={}, folder=Path(), study="", out=Path()))
    follow(StepTaken(trial="b", step=58, sums={}, summarize=dict))
    follow(Started(trial="c", step=0, steps=60, seed=0, config={}, folder=Path(), study="", out=Path()))
    follow(StepTaken(trial="c", step=1, sums={}, summarize=dict))
    follow(Failed(trial="c", step=2, cause="diverged", reason=""))
    assert seen == [
        (60, 180, "finished before", 60),
        (117, 180, "second", 117),
        (118, 180, "second", 117),
        (118, 180, "third", 117),
        (119, 180, "third", 117),
        (178, 180, "third: diverged", 176),
    ]


def test_steps_of_workers_elsewhere_are_counted_once():
    seen = []
    follow = StudyProgress(lambda done, total, note, *, before, work: seen.append((done, total, before, note)))
    follow(Planned(trial="a", arm="pool = max", steps=20))
    for step in (5, 5, 3, 20):
        follow(Elsewhere(trial="a", step=step))
    assert seen == [(5, 20, 0, "pool = max"), (20, 20, 0, "pool = max")]


def test_steps_that_cost_differently_count_as_they_cost():
    """Ten steps at 1, then ten at 4, of which eleven are taken: 14 of 50, though 11 of 20 steps."""
    assert [cost_of(steps, ((10, 1.0), (10, 4.0))) for steps in (0, 10, 11, 20)] == [0, 10, 14, 50]
    assert cost_of(7, ()) == 7
    seen = []
    follow = TrainingProgress(lambda done, total, note, *, before, news=False, work: seen.append((done, work)))
    place = {"config": {}, "folder": Path(), "study": "", "out": Path()}
    costs = ((10, 1.0), (10, 4.0))
    follow(Started(trial="a", step=9, steps=20, seed=0, **place, costs=costs))
    follow(StepTaken(trial="a", step=11, sums={"loss": 3.0, "count": 2}, summarize=dict))
    assert seen == [(11, (14, 50, 9))]
    seen.clear()
    whole = StudyProgress(lambda done, total, note, *, before, work: seen.append((done, total, work)))
    whole(Planned(trial="a", arm="sizes", steps=20, costs=costs))
    whole(Planned(trial="b", arm="one size", steps=20, costs=((20, 4.0),)))
    whole(Started(trial="a", step=9, steps=20, seed=0, **place))
    whole(StepTaken(trial="a", step=10, sums={}, summarize=dict))
    whole(Skipped(trial="b", steps=20))
    assert seen == [(9, 40, (9, 130, 9)), (10, 40, (10, 130, 9)), (30, 40, (90, 130, 89))]
    console_ = console()
    clock = Clock()
    show = _lines(console_, "fm", clock)
    for now, step, work in ((0, 10, (10, 50, 0)), (4, 11, (14, 50, 0)), (8, 20, (50, 50, 0))):
        clock.now = 100.0 + now
        show(step, 20, "", news=True, work=work)
    assert "11/20 steps, 0:00:04, ETA 0:00:36" in console_.file.getvalue()
