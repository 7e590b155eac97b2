"""The notebooks run from top to bottom, and what cnnjax shows in them is tables, one bar and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from cnnjax import SGD, Digits, Experiment, Hardware, Options, SmallCNN, Study, describe, load, plan, report, sweep
from cnnjax.notebook import PICTURED, SHOWN, register
from cnnjax.progress.in_notebook import NotebookBar, bar_html
from tests.forking import one_device

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
EXPERIMENT = Experiment(
    model=SmallCNN(features=2, kernel_size=3, dense=8), data=Digits(), optim=SGD(learning_rate=0.05), epochs=1
)


class Shell:
    """As much of IPython as formats what a cell returns."""

    def __init__(self):
        self.display_formatter = DisplayFormatter()
        self.display_formatter.active_types = self.display_formatter.format_types
        register(self)

    def shown(self, value) -> dict[str, str]:
        return self.display_formatter.format(value)[0]


@pytest.fixture(scope="module")
def shell():
    return Shell()


def test_what_is_shown_is_there():
    for module, name in [*SHOWN, *PICTURED]:
        assert isinstance(getattr(__import__(module, fromlist=[name]), name), type), f"{module}.{name}"


def test_an_experiment_is_what_differs_from_the_defaults(shell):
    shown = shell.shown(EXPERIMENT)
    assert "| optim | sgd(learning\\_rate=0.05) |" in shown["text/markdown"]
    assert "batch" not in shown["text/markdown"]
    assert "optim   sgd(learning_rate=0.05)" in shown["text/plain"]
    # As read from a file, where every field is given.
    assert shell.shown(Experiment.from_json(EXPERIMENT.to_json())) == shown


def test_a_study_its_plan_and_a_network(shell):
    study = Study(EXPERIMENT, axes={"model.pool": ["max", "average"], "model.blocks": [2, 9]}, seeds=2)
    shown = shell.shown(study)["text/markdown"]
    assert "| model.pool | max, average |" in shown
    assert "4 arms x 2 seeds = 8 trials" in shown
    planned = plan(study)
    shown = shell.shown(planned)
    for text in (shown["text/markdown"], shown["text/plain"]):
        assert f"{planned.trials[0].params:,}" in text
        assert "4 trials = 2 arms x 2 seeds" in text
        assert "pruned (2 of 4 arms): " in text
        assert "model.pool = max, model.blocks = 9; model.pool = average" in text.replace("\\_", "_")
    shown = shell.shown(describe(EXPERIMENT))
    assert f"**{describe(EXPERIMENT).params:,}**" in shown["text/markdown"]


def test_what_came_of_a_study(shell, tmp_path):
    one = Options(Hardware(devices=1))
    outcome = sweep(Study(EXPERIMENT, seeds=1), tmp_path, options=one)
    assert f"{tmp_path}: 1 trained; 0 arms pruned" in shell.shown(outcome)["text/plain"]
    assert "1 finished before" in shell.shown(sweep(Study(EXPERIMENT, seeds=1), tmp_path, options=one))["text/plain"]
    shown = shell.shown(report(tmp_path))
    assert "test accuracy" in shown["text/markdown"]
    assert str(tmp_path / "report" / "index.html") in shown["text/plain"]
    trained = load(tmp_path / "trials" / outcome.done[0])
    assert "8x8x1 of digits" in shell.shown(trained)["text/markdown"]


def test_a_bar_takes_its_own_place(monkeypatch):
    import IPython.display

    said = []

    class Handle:
        def update(self, what, raw):
            said.append(what["text/html"])

    def display(what, raw, display_id):
        said.append(what["text/html"])
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    times = iter(np.arange(0, 1, 0.05))
    bar = NotebookBar(lambda: next(times))
    for done in range(1, 11):
        bar.show("a <b>", done, 10, f"{done}/10")
    # At 0, 0.2 and 0.4 s, and the last one at once.
    assert [text.partition("</progress> ")[2] for text in said] == [f"{n}/10</div>" for n in (1, 5, 9, 10)]
    assert "a &lt;b&gt;" in said[0]
    assert 'max="1"' in bar_html("", 0, 0, "waiting")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    # Of the tests; a notebook draws inline.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("XLA_FLAGS", one_device()["XLA_FLAGS"])
    book = nbformat.read(path, 4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code), "kept without outputs, which would grow old"
    NotebookClient(book, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    bars = [
        output.data["text/html"] for output in outputs if "<progress" in output.get("data", {}).get("text/html", "")
    ]
    assert len(bars) == 1
    done = int(bars[0].partition("</progress> ")[2].partition("/")[0])
    assert f"{done}/{done} steps" in bars[0]
    assert any({"text/markdown", "image/png"} & output.get("data", {}).keys() for output in outputs)
