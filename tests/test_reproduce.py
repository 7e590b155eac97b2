"""Reproductions: judged by the card alone, never by a changed run, and continued by the same command."""

from __future__ import annotations

import json
import re

import pytest

from cnnjax.cards import WholeSet
from cnnjax.code import code_of
from cnnjax.errors import ConfigError
from cnnjax.events import Finished, Skipped, Started, StepTaken
from cnnjax.recipes import find, recipes, reproduce, shelf
from cnnjax.recipes.budget import Budget
from cnnjax.recipes.judging import _minutes, form_of, is_complete, is_current, judged
from cnnjax.recipes.reproduce import record_path
from cnnjax.records.reproduction_json import ReproductionRecord
from cnnjax.reporting import collect
from tests.test_reporting import change_result, make_study

FILE = '''"""Does it learn?"""
from cnnjax import SGD, Band, Card, Claim, Experiment, Machine, Published, SmallCNN, Study, Synthetic

experiment = Experiment(
    model=SmallCNN(features=2, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
    optim=SGD(learning_rate=0.05), batch_size=8, steps=STEPS)
study = Study(experiment, axes={}, seeds=3)
card = Card(
    source="nobody", deviations=(),
    published=(Published(mean=0.5, sd=0.01, n=4),),
    band=Band(low=0.0, n=3),
    needs="cpu")
'''.replace("STEPS", "2")
AXIS = FILE.replace("axes={}", 'axes={"model.features": [2, 3]}')
CLAIM = (
    'Claim("More is less", of={"model.features": 3}, against={"model.features": 2}, expects="less", margin=0.001, '
    'metric="train_loss")'
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "asked.py"
    path.write_text(FILE)
    return path


def call(run, *words):
    code, out, err = run("reproduce", *words, "--devices", 1)
    return code, " ".join(out.split()), " ".join(err.split())


def test_a_band_is_judged_by_the_mean_of_its_seeds(run, file, tmp_path):
    code, out, err = call(run, file)
    assert code == 0, err
    folder = tmp_path / "runs" / "reproduce" / "asked"
    results = [json.loads(path.read_text()) for path in folder.glob("trials/*/result.json")]
    values = {str(result["seed"]): result["metrics"]["test_accuracy"] for result in results}
    record = ReproductionRecord.read(folder / "reproduction.json", remedy="")
    assert record is not None
    assert record.result is not None
    assert record.result.values == values
    assert record.result.mean == pytest.approx(sum(values.values()) / 3)
    assert record.experiments == tuple(sorted(result["id"] for result in results))
    assert (record.verdict, record.seeds, record.recipe) == ("pass", 3, "asked")
    assert record.command.startswith("cnnjax reproduce ")
    assert record.environments[0]["versions"]["jax"]
    assert "published: accuracy 50.00 ± 1.00% (n = 4)" in out
    assert "band: accuracy at least 0.00%, mean of 3 seeds" in out
    assert re.search(r"measured: \d+\.\d\d ± \d+\.\d\d% \[\d+\.\d\d, \d+\.\d\d\], n = 3 verdict: pass", out)
    # The same command finds all of it; another band needs no training.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}
    file.write_text(FILE.replace("low=0.0", "low=0.999"))
    code, out, err = call(run, file, "--record")
    assert code == 1
    assert "verdict: fail" in out
    assert "asked is not reproduced" in err
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}
    kept = ReproductionRecord.read(file.with_suffix(".json"), remedy="")
    assert kept is not None
    assert kept.verdict == "fail", "what was found is kept, whatever it is"


def test_a_changed_run_is_no_reproduction(run, file, tmp_path):
    code, out, err = call(run, file, "steps=1", "--seeds", 1)
    assert code == 1
    assert "no reproduction: steps=1 is not the card's, 1 seed instead of the card's 3" in err
    assert "pass" not in out
    assert not list(tmp_path.rglob("reproduction.json"))
    [folder] = (tmp_path / "runs" / "reproduce").iterdir()
    assert folder.name.startswith("asked-changed-"), "not in the folder of the reproduction"
    assert "--record keeps what the card says" in call(run, file, "--record", "steps=1")[2]


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        ((40, 16, 4), ()),
        ((160, 16, 4), ("40 images to train on are not the card's 160",)),
        ((40, 50, 4), ("16 images to test on are not the card's 50",)),
        ((39, 16, 5), ("40 images to train on are not the card's 39", "4 classes are not the card's 5")),
    ],
)
def test_a_set_that_is_not_the_cards_is_told_by_all_of_its_parts(file, whole, said):
    study, card = find(str(file)).file.study, find(str(file)).file.card
    assert card is not None
    counts = WholeSet(**dict(zip(("train", "test", "classes"), whole, strict=True)))
    assert reproduce._missing(study, card.model_copy(update={"whole": counts})) == said


def test_what_says_what_the_card_says_changes_nothing(file):
    study = find(str(file)).file.study
    for overrides, seeds, said in [
        ({"steps": "2", "optim.learning_rate": "5e-2"}, 3, ()),
        ({"model.features": "2,4"}, None, ("model.features=2,4 is not the card's",)),
        (
            {"optim": "adam", "optim.b1": "0.5"},
            None,
            ("optim=adam is not the card's", "optim.b1=0.5 is not the card's"),
        ),
        ({}, 5, ("5 seeds instead of the card's 3",)),
    ]:
        assert reproduce.changed_study(study, overrides, seeds)[1] == said
    with pytest.raises(ConfigError, match="a study sets it"):
        reproduce.changed_study(study, {"seed": "1"}, None)


def test_every_claim_has_a_verdict(run, file, tmp_path):
    file.write_text(AXIS.replace("band=Band(low=0.0, n=3)", f"claims=({CLAIM},)"))
    code, out, err = call(run, file, "--json")
    assert code == 0, err
    found = json.loads(out)["record"]["claims"][0]
    assert found["word"] in ("holds", "fails", "not told apart", "no difference larger than")
    assert (found["n"], found["claim"]["text"]) == (3, "More is less")
    folder = tmp_path / "runs" / "reproduce" / "asked"
    losses = {
        (result["config"]["model"]["features"], result["seed"]): result["metrics"]["train_loss"]
        for result in (json.loads(path.read_text()) for path in folder.glob("trials/*/result.json"))
    }
    expected = {str(seed): losses[3, seed] - losses[2, seed] for seed in range(3)}
    assert found["values"] == pytest.approx(expected)


def test_two_folds_are_too_few_for_a_verdict_on_a_claim(run, file):
    text = FILE.replace("axes={}", 'axes={"model.features": [2, 3], "fold": [0, 1]}').replace(
        "steps=", "folds=2, steps="
    )
    file.write_text(text.replace("band=Band(low=0.0, n=3),", f"claims=({CLAIM},),"))
    code, _, err = call(run, file)
    assert code == 1
    assert "asked has 2 folds, and a verdict on a claim takes an interval, so 3" in err


MISTAKES = [
    ("band=Band(low=0.0, n=3),", "", ["has no band and no claims"]),
    ("band=Band(low=0.0, n=3),", f"claims=({CLAIM},),", ["asked has 2 seeds, and a verdict on a claim takes"]),
    ("card = Card(", "other = Card(", ["has no card, and so says nothing to reproduce"]),
    ("n=3)", "n=4)", ["card.band.n = 4, and the study has 3 seeds"]),
    ("n=3)", "metric='f1', n=3)", ["'test_f1' is no metric", "test_accuracy"]),
    ("data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16)", "data='mnist'",
     ["not prepared", "cnnjax data prepare mnist"]),
    ('needs="cpu"', 'machines={"gpu": Machine(kind="a100", devices=8, hours=2.5)}',
     ["needs an accelerator", "2.5 hours on 8 x a100 (7.5 for 3 seeds)", "reproduce asked steps=10 batch_size=16"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[said[0] for *_, said in MISTAKES])
def test_what_cannot_be_reproduced_says_why(run, file, tmp_path, monkeypatch, old, new, said):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    text = AXIS.replace("seeds=3", "seeds=2") if "claims" in new else FILE
    file.write_text(text.replace(old, new))
    code, _, err = call(run, file)
    assert code == 1
    for part in said:
        assert part in err


def test_other_mistakes(run, file):
    assert "'--budget': Input should be greater than or equal to 0" in call(run, file, "--budget", -1)[2]
    assert "--stale keep: must be stop or rerun" in call(run, file, "--stale", "keep")[2]
    assert "'digits/basline' is no recipe" in call(run, "digits/basline")[2]


def test_an_edited_study_takes_the_place_of_the_one_before_where_it_is_told_to(run, file):
    assert call(run, file)[0] == 0
    file.write_text(FILE.replace("steps=2", "steps=1"))
    code, _, err = call(run, file)
    assert code == 1
    assert "with --replace" in err
    code, out, err = call(run, file, "--replace")
    assert code == 0, err
    assert "verdict: pass" in out


def test_a_seed_that_diverged_is_not_left_out(file, tmp_path):
    trials = [{"id": f"a{seed}", "seed": seed} for seed in range(3)]
    ends = [{"status": "done", "metrics": {"test_accuracy": 0.5}}] * 2 + [{"status": "failed", "cause": "diverged"}]
    for trial, end in zip(trials, ends, strict=True):
        folder = tmp_path / "trials" / trial["id"]
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({**trial, "params": 1, "macs": 1, **end}))
    (tmp_path / "study.json").write_text(json.dumps({"axes": {}, "seeds": [0, 1, 2]}))
    (tmp_path / "plan.json").write_text(json.dumps({"trials": trials}))
    record = judged(find(str(file)), collect(tmp_path))
    assert record.result is not None
    assert (record.verdict, record.result.n, record.result.diverged) == ("fail", 2, ("seed 2",))


def test_a_claim_without_a_number_is_recorded_as_such(file, tmp_path):
    """What diverged would diverge again: the finding is that there is no verdict, and it is whole."""
    file.write_text(AXIS.replace("band=Band(low=0.0, n=3)", f"claims=({CLAIM},)"))
    done = {"status": "done", "metrics": {"train_loss": 0.5}}
    ends = {(2, seed): done for seed in range(3)} | {(3, 0): done, (3, 1): done, (3, 2): {"status": "failed"}}
    for cause, complete in (("diverged", True), ("crashed", False)):
        out = tmp_path / cause
        trials = [{"id": f"f{f}s{seed}", "seed": seed, "arm": {"model.features": f}} for f, seed in ends]
        for trial, end in zip(trials, ends.values(), strict=True):
            cause_of = {"cause": cause} if end["status"] == "failed" else {}
            result = {"id": trial["id"], "seed": trial["seed"], "params": 1, "macs": 1, **end, **cause_of}
            path = out / "trials" / trial["id"] / "result.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(result))
        study = {"axes": {"model.features": [2, 3]}, "seeds": [0, 1, 2], "base": {"model": {"features": 2}}}
        (out / "study.json").write_text(json.dumps(study))
        (out / "plan.json").write_text(json.dumps({"trials": trials}))
        recipe = find(str(file))
        record = judged(recipe, collect(out))
        assert (record.claims[0].word, record.claims[0].n) == ("no verdict", 2)
        assert is_complete(recipe.file.card, record) == complete


# --- a budget


class Clock:
    """Seconds that pass when it is told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def started(trial, steps, step=0):
    return Started(
        trial=trial, step=step, steps=steps, seed=0, config={}, folder=shelf.IN_SOURCE, study="", out=shelf.IN_SOURCE
    )


def steps_of(budget, clock, trial, numbers, seconds=1.0):
    for number in numbers:
        clock.now += seconds
        budget(StepTaken(trial=trial, step=number, sums={}, summarize=dict))
        if budget.said:
            return number
    return None


def test_a_budget_too_small_for_one_seed_is_told_early():
    clock = Clock()
    budget = Budget(2, clock=clock)
    budget(started("a", steps=1000))
    # The first step is compiled; ten seconds later one a second is known, and 988 more do not fit into 108 seconds.
    assert steps_of(budget, clock, "a", range(1, 1000)) == 11
    assert budget.stop.is_set()
    assert "the 989 steps that are left of it take about 17 minutes here (1 steps a second" in budget.said
    assert "--budget 20 or more continues" in budget.said


def test_a_budget_that_is_enough_for_one_is_spent():
    clock = Clock()
    budget = Budget(2, clock=clock)
    budget(started("a", steps=50))
    assert steps_of(budget, clock, "a", range(1, 51)) is None
    budget(Finished(trial="a", step=50, metrics={}))
    budget(started("b", steps=1000))
    assert steps_of(budget, clock, "b", range(1, 1000)) == 70
    assert "the 2 minutes are over; all is saved, and the same command continues" in budget.said


def test_what_is_left_of_a_continued_training_counts():
    clock = Clock()
    for step, last in ((960, None), (0, 11)):
        budget = Budget(2, clock=clock)
        budget(started("a", steps=1000, step=step))
        assert steps_of(budget, clock, "a", range(step + 1, 1001)) == last
    budget = Budget(2, clock=clock)
    budget(Skipped(trial="b", steps=1000))
    budget(started("a", steps=1000))
    assert steps_of(budget, clock, "a", range(1, 1001)) == 120, "another seed is there: the budget is spent"


def hurried(after):
    """A budget that is over at the event of that number."""

    class Hurried(Budget):
        def __init__(self, minutes):
            self.events = 0
            super().__init__(minutes, clock=lambda: 0.0)

        def __call__(self, event):
            self.events += 1
            if self.events == after:
                self._stop("the minutes are over")

    return Hurried


def test_the_same_command_continues_after_a_budget(run, file, tmp_path, monkeypatch):
    file.write_text(FILE.replace("steps=2", "steps=12"))
    # Planned three times, started, and stopped in the first training: nothing is known of any seed.
    assert "a budget of 0 minutes trains nothing" in call(run, file, "--budget", 0)[2]
    assert not list((tmp_path / "runs").rglob("checkpoints"))
    whole = reproduce.Budget
    monkeypatch.setattr(reproduce, "Budget", hurried(6))
    code, out, err = call(run, file, "--budget", 1)
    assert (code, "verdict" in out, "the minutes are over" in err) == (1, False, True)
    [trial] = [path.parent for path in (tmp_path / "runs").rglob("checkpoints")]
    assert not (trial / "result.json").exists()
    # Stopped once a seed is finished, it says what there is, and gives no verdict.
    monkeypatch.setattr(reproduce, "Budget", hurried(24))
    code, out, err = call(run, file, "--budget", 1)
    assert (code, "verdict: no verdict" in out) == (1, True)
    assert "no verdict yet: the minutes are over" in err
    code, out, err = call(run, file)
    assert (code, "verdict: pass" in out) == (0, True), err
    monkeypatch.setattr(reproduce, "Budget", whole)
    code, out, err = call(run, file, "--budget", 0)
    assert (code, "verdict: pass" in out) == (0, True), "nothing is missing"


# --- what is committed

OWN = FILE.replace("SmallCNN(features=2, dense=0)", "Mine()").replace(
    "experiment = ",
    """import flax.linen as nn
from cnnjax import Model

class Net(nn.Module):
    mine: object

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(4)(images.reshape(images.shape[0], -1)) * 1.0

class Mine(Model):
    def build(self):
        return Net(self)

experiment = """,
    1,
)


def test_a_record_is_of_a_form_and_of_the_code_of_its_own_classes(file):
    fields = {"recipe": "asked", "experiments": (), "recorded": "2026-01-02T03:04:05+00:00", "seeds": 3}
    forms = {}
    for name, text in {
        "plain": FILE,
        "other words": FILE.replace("nobody", "somebody"),
        "other band": FILE.replace("low=0.0", "low=0.1"),
        "other seeds": FILE.replace("seeds=3", "seeds=4"),
        "other training": FILE.replace("steps=2", "steps=3"),
    }.items():
        file.write_text(text)
        forms[name] = form_of(find(str(file)).file)
    assert forms["plain"] == forms.pop("other words")
    assert len(set(forms.values())) == 4
    file.write_text(OWN)
    loaded = find(str(file)).file
    code = code_of(loaded.experiment).digest
    record = ReproductionRecord(form=form_of(loaded), codes=(str(code),), **fields)
    assert is_current(loaded, record)
    assert not is_current(loaded, record.model_copy(update={"codes": ("c0de",)}))


def test_every_record_belongs_to_the_present_form_of_its_recipe():
    known = {recipe.name: recipe for recipe in recipes() if not isinstance(recipe, tuple)}
    for path in sorted(shelf.shelf().rglob("*.json")):
        record = ReproductionRecord.read(path, remedy="reproduce it again with --record")
        assert record is not None
        recipe = known[record.recipe]
        assert record_path(recipe) == path
        assert is_current(recipe.file, record), f"{record.recipe} has changed: reproduce it again with --record"


def test_minutes_are_those_of_all_trials_each_with_its_share(tmp_path):
    """Of trials that were trained together, too: their seconds in result.json are shares already."""
    for trial in make_study(tmp_path, axes={}, seeds=(0, 1, 2)):
        change_result(tmp_path, trial, train_seconds=50.0, compile_seconds=10.0, packed=3)
    assert _minutes(collect(tmp_path)) == 3.0
