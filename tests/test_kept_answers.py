"""What stored predictions say in a report, over fabricated trials: by class, against NumPy and SciPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special, stats

from cnnjax.documents.document import Grid, Remarks
from cnnjax.records.predictions_npz import KeptPredictions
from cnnjax.reporting import Finding, collect, report
from cnnjax.reporting.confusions import by_class, changes, costs
from cnnjax.reporting.kept import kept, pair
from cnnjax.reporting.panels.calibration import calibration_panel
from cnnjax.reporting.panels.flips import flips_panel
from cnnjax.reporting.panels.recall import recall_panel
from cnnjax.reporting.picture_confusion import confusion_picture
from cnnjax.statistics.classes import confusion, precision, recall, taken_for
from tests.kept import NAMES, confuse, keep, resolve, resolved
from tests.test_reporting import change_result, korn_graubard, make_study, set_metrics, study_path, write_json

POOL = {"model.pool": ["max", "average", "none"]}
N = 400


def kept_study(out: Path, *, seeds: tuple[int, ...] = (0, 1, 2), names: tuple[str, ...] = NAMES, axes: dict = POOL):
    """(its trials, the class of each example, what each trial takes it for by id). The second arm errs on class 2."""
    rng = np.random.default_rng(5)
    trials = make_study(out, axes=axes, seeds=seeds)
    target = rng.integers(0, len(names), N)
    taken = {}
    for trial in trials:
        own = confuse(target, 0.1, len(names), rng)
        if trial["arm"].get("model.pool") == "average":
            own = np.where((target == 2) & (rng.random(N) < 0.5), 1, own)
        taken[trial["id"]] = own
        keep(out, trial, target, own, names=names)
    resolve(out, trials, names)
    return trials, target, taken


def text(finding: Finding) -> str:
    return " ".join(line for block in finding.blocks if isinstance(block, Remarks) for line in block.lines)


def grids(finding: Finding) -> list[Grid]:
    return list(finding.grids)


# --- the functions


def test_classes_against_counting_by_hand() -> None:
    target, taken = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, -1])
    matrix = confusion(target, taken, classes=4)
    np.testing.assert_array_equal(matrix, [[1, 1, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(recall(target, taken == target, classes=4), [1 / 2, 2 / 3, 0, math.nan])
    np.testing.assert_array_equal(precision(matrix), [1 / 2, 2 / 3, math.nan, math.nan])


@pytest.mark.parametrize(
    ("outputs", "target", "right", "taken"),
    [
        ([1.0, 3.0, 2.0], 1, True, 1),
        ([1.0, 3.0, 2.0], 2, False, 1),
        # Equal once they are rounded: what was counted decides.
        ([3.0, 3.0, 2.0], 1, True, 1),
        ([3.0, 3.0, 2.0], 0, False, 1),
        ([math.nan, 3.0, 2.0], 1, False, -1),
        ([0.0, 1.0, 9.0, 9.0], 0, False, 2),
    ],
)
def test_what_an_example_is_taken_for(outputs: list[float], target: int, right: bool, taken: int) -> None:
    found = taken_for(np.array([outputs], np.float16), np.array([target]), np.array([right]), classes=3)
    assert found.tolist() == [taken]


def test_one_output_is_the_log_odds_of_the_second_class() -> None:
    outputs, target = np.array([[-1.0], [2.0], [0.0]], np.float16), np.array([0, 0, 0])
    assert taken_for(outputs, target, np.array([True, False, True]), classes=2).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="1 outputs cannot rank 3 classes"):
        taken_for(outputs, target, target == 0, classes=3)


# --- by class


def test_recall_and_precision_by_class_against_scipy(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    table = collect(tmp_path)
    own = by_class(table, 2)
    assert own is not None
    names = [trial["id"] for trial in trials if trial["arm"]["model.pool"] == "average"]
    for k in range(4):
        recalls = [(taken[name][target == k] == k).mean() for name in names]
        precisions = [(target[taken[name] == k] == k).mean() for name in names]
        assert own.recall[k].mean == pytest.approx(np.mean(recalls))
        assert own.recall[k].sd == pytest.approx(np.std(recalls, ddof=1))
        low, high = korn_graubard(recalls, int((target == k).sum()))
        assert (own.recall[k].low, own.recall[k].high) == pytest.approx((low, high))
        t = stats.t.interval(0.95, 2, np.mean(precisions), stats.sem(precisions))
        assert (own.precision[k].low, own.precision[k].high) == pytest.approx((t[0], min(t[1], 1)))
        for other in range(4):
            shares = [(taken[name][target == k] == other).mean() for name in names]
            assert own.mean()[k, other] == pytest.approx(np.mean(shares))


def test_changes_are_paired_and_corrected_for_the_classes(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    table = collect(tmp_path)
    found = changes(table, 2, 1)
    here = target == 2
    names = [[trial["id"] for trial in trials if trial["arm"]["model.pool"] == pool] for pool in ("average", "max")]
    recalls = [np.array([(taken[name][here] == 2).mean() for name in own]) for own in names]
    difference = recalls[0] - recalls[1]
    mean, examples = difference.mean(), here.sum()
    sampling = (abs(mean) * (1 - abs(mean)) + 1 / examples) / examples
    half = math.hypot(stats.t.ppf(0.975, 2) * stats.sem(difference), stats.norm.ppf(0.975) * math.sqrt(sampling))
    assert found[2].difference.mean == pytest.approx(mean)
    assert (found[2].difference.low, found[2].difference.high) == pytest.approx((mean - half, mean + half))
    assert found[2].holm == pytest.approx(4 * found[2].p)
    ends = stats.t.interval(0.95, 2, mean, stats.sem(difference))
    assert (found[2].difference.seeds_low, found[2].difference.seeds_high) == pytest.approx(ends)
    theirs: Any = stats.ttest_1samp(difference, 0)
    assert found[2].p_of_seeds == pytest.approx(theirs.pvalue)
    assert found[2].holm < 0.05 < min(found[k].p for k in (0, 1, 3))
    cost, other = costs(table, [2, 3], 1)
    assert cost is not None
    assert cost.name == "<script>"
    assert cost.p == pytest.approx(4 * found[2].p)
    assert cost.holm == pytest.approx(8 * found[2].p)
    assert other is None or other.holm > 0.05


def test_the_panel_says_it_and_names_are_text(tmp_path: Path) -> None:
    trials, *_ = kept_study(tmp_path)
    for trial in trials:
        set_metrics(tmp_path, trial, validation_accuracy=0.99 if trial["arm"]["model.pool"] == "average" else 0.5)
    table = collect(tmp_path)
    assert pair(table) == (2, 1)
    finding = recall_panel(table)
    assert finding is not None
    # The interval over seeds comes first, that over examples too after it.
    change = changes(table, 2, 1)[2].difference.scaled(100)
    heads = [column.heading for column in grids(finding)[0].columns]
    cells = grids(finding)[0].cells(exact=True)[2]
    first = heads.index("difference") + 1
    assert heads[first : first + 3 : 2] == ["95% interval over seeds", "also over examples"]
    ends = ((change.seeds_low, change.seeds_high), (change.low, change.high))
    assert cells[first : first + 3 : 2] == [f"[{low:.1f}, {high:.1f}]" for low, high in ends]
    [answer] = finding.answers
    assert "arm 2 (pool=average) beside arm 1 (pool=max)" in answer
    assert "(n=3 common seeds, corrected for 4 classes): <script> -" in answer
    rows = grids(finding)[0].cells(exact=True)
    assert [row[0] for row in rows] == list(NAMES)
    assert "from what 3 and 3 trials kept of their predictions of the 400 examples of the test part" in text(finding)
    page = report(tmp_path).page.read_text()
    assert "&lt;script&gt; taken for dog: " in page
    assert "<script> taken" not in page


def test_an_arm_that_was_chosen_on_the_same_examples_is_said_to_be_flattered(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    better = {"max": "average", "average": "max"}
    for trial in trials:
        pool = trial["arm"]["model.pool"]
        other = next(each for each in trials if each["arm"]["model.pool"] == better.get(pool, pool))
        change_result(tmp_path, trial, metrics={})
        keep(tmp_path, trial, target, taken[other["id"]], part="validation")
        change_result(tmp_path, trial, examples={"train": 1000, "validation": N})
    finding = recall_panel(collect(tmp_path))
    assert finding is not None
    assert pair(collect(tmp_path)) == (2, 1)
    assert not finding.answers
    assert "Arm 2 was chosen on these examples, which flatters it." in text(finding)


def test_the_arm_next_by_validation_stands_beside_a_base_that_is_chosen(tmp_path: Path) -> None:
    trials, *_ = kept_study(tmp_path)
    level = {"max": 0.9, "average": 0.5, "none": 0.8}
    for trial in trials:
        set_metrics(tmp_path, trial, validation_accuracy=level[trial["arm"]["model.pool"]])
    assert pair(collect(tmp_path)) == (3, 1)


def test_one_seed_has_no_interval_and_no_test(tmp_path: Path) -> None:
    kept_study(tmp_path, seeds=(0,))
    finding = recall_panel(collect(tmp_path))
    assert finding is not None
    assert not finding.answers
    row = grids(finding)[0].cells(exact=True)[0]
    assert row[2].endswith("(n=1)")
    assert row[3] == row[5] == row[7] == row[8] == "–"


def test_a_single_run_has_its_classes_too(tmp_path: Path) -> None:
    kept_study(tmp_path, seeds=(0,), axes={})
    [run] = (tmp_path / "trials").iterdir()
    finding = recall_panel(collect(run))
    assert finding is not None
    assert [column.heading for column in grids(finding)[0].columns] == [
        *("class", "examples", "recall, %, arm 1", "95% interval over seeds", "precision, %, arm 1")
    ]


def test_many_classes_have_rows_and_pairs_but_no_matrix(tmp_path: Path) -> None:
    kept_study(tmp_path, names=tuple(f"class {k}" for k in range(60)))
    table = collect(tmp_path)
    finding = recall_panel(table)
    assert finding is not None
    assert len(grids(finding)[0].rows) == 40
    assert "Of 60 classes the 40 whose recall differs most between the two have a row" in text(finding)
    assert finding.data is not None
    assert len(finding.data["classes"]) == 60
    assert confusion_picture(table) is None


def test_folds_and_seeds_are_crossed(tmp_path: Path) -> None:
    _, target, taken = kept_study(tmp_path, axes={"fold": [0, 1, 2], "model.pool": ["max", "average"]})
    table = collect(tmp_path)
    own = by_class(table, 1)
    assert own is not None
    assert own.recall[0].n == 3
    assert own.recall[0].method.endswith("folds, seeds and examples")
    names = [row.id for row in table.done.itertuples() if row.arm == 1]
    assert own.recall[0].mean == pytest.approx(np.mean([(taken[name][target == 0] == 0).mean() for name in names]))


def test_folds_are_not_compared_by_examples_that_each_has_alone(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes={"fold": [0, 1, 2], "model.pool": ["max", "average"]})
    target = np.arange(N) % 4
    for trial in trials:
        keep(tmp_path, trial, target, target, part="validation")
        result = study_path(tmp_path, trial, "result.json")
        change_result(tmp_path, trial, metrics={"validation_accuracy": 1.0}, examples={"train": 1, "validation": N})
        assert result.exists()
    table = collect(tmp_path)
    found = kept(table)
    assert found is not None
    assert not found.right
    assert "Each fold has validation examples of its own" in found.notes[0]
    assert recall_panel(table) is None
    said = flips_panel(table)
    assert said is not None
    assert text(said) == found.notes[0]


# --- the same examples


def answers(trials: list, taken: dict, target: np.ndarray, pool: str) -> np.ndarray:
    return np.stack([taken[trial["id"]] == target for trial in trials if trial["arm"]["model.pool"] == pool])


def test_arms_on_the_same_examples_against_counting(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    finding = flips_panel(collect(tmp_path))
    assert finding is not None
    assert finding.data is not None
    left, right = (answers(trials, taken, target, pool) for pool in ("average", "max"))
    own = finding.data["arms"][0]
    assert (own["arm"], own["n"], own["examples"]) == (2, 3, N)
    assert own["both"] == int((left & right).sum())
    assert own["only_left"] == int((left & ~right).sum())
    assert own["difference"] == pytest.approx(left.mean() - right.mean())
    row = grids(finding)[0].cells(exact=True)[0]
    assert row[3] == f"{100 * (left & right).mean():.1f}"
    assert row[5] == f"{100 * (~left & right).mean():.1f}"
    # Two arms: Holm doubles the smaller p.
    assert own["holm"] == pytest.approx(2 * own["p"])


def test_one_seed_is_mcnemar_s_exact_test(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path, seeds=(0,), axes={"model.pool": ["max", "average"]})
    finding = flips_panel(collect(tmp_path))
    assert finding is not None
    assert finding.data is not None
    [left], [right] = (answers(trials, taken, target, pool) for pool in ("average", "max"))
    only = int((left & ~right).sum()), int((~left & right).sum())
    assert finding.data["arms"][0]["p"] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)


def test_the_examples_that_flip_in_most_seeds_come_first(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path, axes={"model.pool": ["max", "average"]})
    finding = flips_panel(collect(tmp_path))
    assert finding is not None
    assert finding.data is not None
    own, other = (answers(trials, taken, target, pool).sum(0) for pool in ("average", "max"))
    found = finding.data["examples"]
    assert (found["arm"], found["against"]) == (2, 1)
    flips = own - other
    for places, sign in ((found["lost"], -1), (found["gained"], 1)):
        assert [sign * flips[place] for place in places] == sorted(sign * flips, reverse=True)[: len(places)]
    place = found["lost"][0]
    row = grids(finding)[1].cells(exact=True)[0]
    assert row[:4] == [str(place), NAMES[target[place]], f"{own[place]} of 3", f"{other[place]} of 3"]
    assert row[4].split(" ")[0] in {NAMES[taken[trial["id"]][place]] for trial in trials[3:]}
    assert row[5] == NAMES[target[place]]
    alone = int(((other == 3) & (own == 0)).sum())
    assert f"In all 3 pairs of networks {alone} examples are right with arm 1 alone" in text(finding)


def test_answers_that_are_the_same_have_no_test(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path, axes={"model.pool": ["max", "average"]})
    for trial in trials:
        keep(tmp_path, trial, target, taken[trials[0]["id"]])
    finding = flips_panel(collect(tmp_path))
    assert finding is not None
    assert len(grids(finding)) == 1
    assert grids(finding)[0].cells(exact=True)[0][-3:] == ["0.0", "–", "–"]


def test_arms_are_paired_by_the_seeds_that_both_have(tmp_path: Path) -> None:
    trials, *_ = kept_study(tmp_path)
    KeptPredictions.at(study_path(tmp_path, trials[3], ".")).unlink()
    finding = flips_panel(collect(tmp_path))
    assert finding is not None
    assert finding.data is not None
    assert [own["n"] for own in finding.data["arms"]] == [2, 3]
    assert "Predictions are kept of 8 of 9 finished trials" in text(finding)


# --- calibration


def by_hand(logits: np.ndarray, target: np.ndarray, temperature: float = 1.0) -> tuple[float, float]:
    """(expected calibration error, mean negative log likelihood) of logits [N, C], example by example."""
    p = special.softmax(logits.astype(float) / temperature, axis=1)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, true in zip(p, target, strict=True):
        bins.setdefault(math.ceil(row.max() * 15), []).append((row.max(), row.argmax() == true))
    gaps = [len(own) * abs(np.mean([c for c, _ in own]) - np.mean([r for _, r in own])) for own in bins.values()]
    return float(sum(gaps)) / len(target), float(-np.log(p[np.arange(len(p)), target]).mean())


def best_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    found = optimize.minimize_scalar(
        lambda t: by_hand(logits, target, t)[1], bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9}
    )
    return found.x


@pytest.mark.parametrize("validation", [True, False])
def test_calibration_against_scipy(tmp_path: Path, validation: bool) -> None:
    rng = np.random.default_rng(3)
    trials = make_study(tmp_path, axes={"model.pool": ["max", "average"]})
    resolve(tmp_path, trials)
    target, own, errors = rng.integers(0, 4, (2, N)), {}, []
    for trial in trials:
        # Three times too sure.
        drawn = rng.normal(0, 1, (2, N, 4)) + 1.5 * np.eye(4)[target]
        outputs = (3 * drawn).astype(np.float16)
        for part, labels_, logits in zip(("test", "validation"), target, outputs, strict=True):
            keep(tmp_path, trial, labels_, logits.astype(float).argmax(1), part=part, outputs=logits)
            own[part] = KeptPredictions.read(KeptPredictions.at(study_path(tmp_path, trial, ".")), id=trial["id"])
        parts = own["test"].parts | (own["validation"].parts if validation else {})
        KeptPredictions(trial["id"], parts).write(KeptPredictions.at(study_path(tmp_path, trial, ".")))
        t = best_temperature(outputs[1], target[1])
        errors.append((*by_hand(outputs[0], target[0]), t, *by_hand(outputs[0], target[0], t)))
    finding = calibration_panel(collect(tmp_path))
    assert finding is not None
    assert finding.data is not None
    for found in finding.data["arms"]:
        expected = np.array(errors[3 * found["arm"] - 3 : 3 * found["arm"]])
        for name, values in zip(("error", "loss", "temperature", "error_after", "loss_after"), expected.T, strict=True):
            if name in ("error", "loss") or validation:
                assert found[name]["mean"] == pytest.approx(values.mean(), rel=1e-5)
                assert found[name]["sd"] == pytest.approx(values.std(ddof=1), rel=1e-3)
            else:
                assert found[name]["n"] == 0
    row = grids(finding)[0].cells(exact=True)[0]
    assert (row[6] == "–") is not validation


def test_outputs_that_are_no_probabilities_have_no_calibration(tmp_path: Path) -> None:
    trials, *_ = kept_study(tmp_path)
    for trial in trials:
        write_json(study_path(tmp_path, trial, "resolved.json"), resolved(trial["id"], NAMES) | {"kind": "continuous"})
    assert calibration_panel(collect(tmp_path)) is None


# --- what cannot be used


def test_without_predictions_nothing_is_said(tmp_path: Path) -> None:
    make_study(tmp_path)
    assert kept(collect(tmp_path)) is None
    assert recall_panel(collect(tmp_path)) is None
    assert flips_panel(collect(tmp_path)) is None


def other_examples(out: Path, trial: dict, target: np.ndarray) -> None:
    keep(out, trial, (target + 1) % 4, (target + 1) % 4)


def fewer_examples(out: Path, trial: dict, target: np.ndarray) -> None:
    keep(out, trial, target[:100], target[:100])


def other_weights(out: Path, trial: dict, target: np.ndarray) -> None:
    set_metrics(out, trial, test_accuracy=0.5)


def damaged(out: Path, trial: dict, target: np.ndarray) -> None:
    KeptPredictions.at(study_path(out, trial, ".")).write_bytes(b"no archive")


def of_another(out: Path, trial: dict, target: np.ndarray) -> None:
    keep(out, {**trial, "seed": 0}, target, target)
    KeptPredictions("other", {}).write(KeptPredictions.at(study_path(out, trial, ".")))


def half_right(out: Path, trial: dict, target: np.ndarray) -> None:
    keep(out, trial, target, target, correct=np.full(N, 0.5))


def missing(out: Path, trial: dict, target: np.ndarray) -> None:
    KeptPredictions.at(study_path(out, trial, ".")).unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_examples, "Of other examples than most are the predictions of trial {id}: they are not compared"),
        (fewer_examples, "Of other examples than most are the predictions of trial {id}"),
        (other_weights, "The predictions of trial {id} are not what the result counts"),
        (damaged, "predictions.npz is damaged ("),
        (of_another, "is of another experiment (other, not {id}); delete it, and `cnnjax evaluate RUN"),
        (half_right, "does not say which examples of the test part were right"),
        (missing, "Predictions are kept of 8 of 9 finished trials; `cnnjax evaluate RUN --keep-predictions`"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_said(tmp_path: Path, change, said: str) -> None:
    trials, target, _ = kept_study(tmp_path)
    change(tmp_path, trials[4], target)
    table = collect(tmp_path)
    found = kept(table)
    assert found is not None
    assert set(found.right) == {trial["id"] for trial in trials} - {trials[4]["id"]}
    [note] = found.notes
    finding = flips_panel(table)
    assert finding is not None
    assert note in text(finding)
    assert said.format(id=trials[4]["id"]) in note
    own = by_class(table, 2)
    assert own is not None
    assert own.recall[0].n == 2


def test_arms_of_other_data_are_not_compared_though_targets_are_equal(tmp_path: Path) -> None:
    trials, *_ = kept_study(tmp_path)
    for trial in trials[3:6]:
        change_result(tmp_path, trial, data_fingerprint="0ther")
    table = collect(tmp_path)
    found = kept(table)
    assert found is not None
    assert "Of other examples than most are the predictions of 3 trials" in found.notes[0]
    assert by_class(table, 2) is None


def test_outputs_that_are_damaged_take_no_part_in_confusions_alone(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    keep(tmp_path, trials[3], target, taken[trials[3]["id"]], outputs=np.zeros((N, 2), np.float16))
    own = by_class(collect(tmp_path), 2)
    assert own is not None
    assert [own.recall[0].n, own.precision[0].n, len(own.shares)] == [3, 2, 2]


def test_what_is_of_other_hardware_may_miss_a_result_by_an_example(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    result = float((taken[trials[0]["id"]] == target).mean())
    set_metrics(tmp_path, trials[0], test_accuracy=result + 1 / N)
    found = kept(collect(tmp_path))
    assert found is not None
    assert len(found.right) == 9


def test_what_is_right_among_five_is_no_recall(tmp_path: Path) -> None:
    trials, target, taken = kept_study(tmp_path)
    for trial in trials:
        keep(tmp_path, trial, target, taken[trial["id"]], correct_top5=(taken[trial["id"]] == target).astype(np.int32))
        result = float((taken[trial["id"]] == target).mean())
        change_result(tmp_path, trial, metrics={"validation_top5": 0.9, "test_top5": result})
        held = resolved(trial["id"], NAMES)
        top5 = held["metrics"][0] | {"name": "top5", "total": "correct_top5"}
        write_json(study_path(tmp_path, trial, "resolved.json"), held | {"metrics": [top5], "chosen_by": "top5"})
    table = collect(tmp_path)
    assert recall_panel(table) is None
    finding = flips_panel(table)
    assert finding is not None
    assert [column.heading for column in grids(finding)[1].columns] == ["example", "right, arm 2", "right, arm 1"]


def test_a_metric_that_is_no_share_of_right_answers_has_no_answers(tmp_path: Path) -> None:
    trials = make_study(tmp_path, axes=POOL, kind="loss")
    for trial in trials:
        KeptPredictions(trial["id"], {"test": {"target": np.zeros(3), "loss": np.ones(3)}}).write(
            KeptPredictions.at(study_path(tmp_path, trial, "."))
        )
    assert kept(collect(tmp_path)) is None
