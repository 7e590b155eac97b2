"""Designs: which arms a study has, how many there are, and what each axis sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from cnnjax import SGD, Experiment, SmallCNN, Study, Synthetic, plan
from cnnjax.config import Named, read, replace
from cnnjax.errors import ConfigError
from cnnjax.models import BatchNorm
from cnnjax.study.designs import (
    Concatenation,
    Design,
    FractionalFactorial,
    Grid,
    Integers,
    LatinHypercube,
    Listed,
    LogIntegers,
    LogUniform,
    OneAtATime,
    Product,
    Random,
    Sobol,
    Uniform,
    Zip,
    random,
)
from cnnjax.study.designs.fractional_factorial import LETTERS, TABLE
from cnnjax.study.study import with_overrides

BASE = Experiment(
    model=SmallCNN(features=4, dense=0),
    data=Synthetic(height=8, width=8, channels=1, classes=4, examples=50, test_examples=20),
    optim=SGD(learning_rate=0.05),
    batch_size=16,
    epochs=2,
)
AXES = {"model.features": [2, 4], "model.pool": ["max", "average"], "model.norm": ["none", "batch"]}


def arms(study):
    return [dict(arm) for arm in study.arms]


def test_axes_and_combine_are_a_grid_and_a_star():
    for combine, design in (("grid", Grid(axes=AXES)), ("one_at_a_time", OneAtATime(axes=AXES))):
        study, same = Study(BASE, axes=AXES, combine=combine), Study(BASE, design=design)
        assert study.chosen_design == design
        assert study.arms == same.arms
        assert study.count == same.count == len(study.arms)
        assert study.levels == same.levels == Named({path: tuple(values) for path, values in AXES.items()})


def test_ten_million_arms_cost_nothing_until_they_are_asked_for():
    axes = {"optim.learning_rate": [n / 1000 for n in range(1, 1001)], "epochs": list(range(1, 101))}
    study = Study(BASE, axes={**axes, "model.features": list(range(1, 101))})
    assert study.count == 10_000_000
    assert [arm["model.features"] for arm in itertools.islice(study.iter_arms(), 3)] == [1, 2, 3]


def test_a_design_has_its_own_axes():
    with pytest.raises(ConfigError, match="leave axes out"):
        Study(BASE, axes=AXES, design=Grid(axes=AXES))
    with pytest.raises(ConfigError, match="leave combine out"):
        Study(BASE, combine="one_at_a_time", design=Grid(axes=AXES))


RECIPES = {"plain": {}, "strong": {"optim.learning_rate": 0.5, "epochs": 9, "model.norm": "batch"}}


def test_a_group_is_one_axis_of_several_fields():
    study = Study(BASE, axes={"model.features": [2, 4], "recipe": RECIPES})
    assert arms(study) == [
        {"model.features": features, "recipe": choice} for features in (2, 4) for choice in ("plain", "strong")
    ]
    strong = study.varied(study.arms[1])
    assert (strong.optim.learning_rate, strong.epochs, read(strong, "model.norm")) == (0.5, 9, BatchNorm())
    assert study.varied(study.arms[2]) == BASE
    assert study.base_arm == Named({"model.features": 4, "recipe": "plain"})
    assert study.paths == ("model.features", "optim.learning_rate", "epochs", "model.norm")
    assert Study.from_json(study.to_json()) == study


def test_one_at_a_time_begins_with_the_base_though_no_choice_of_a_group_is_it():
    choices = {"long": {"epochs": 9}, "short": {"epochs": 1}}
    study = Study(BASE, axes={"recipe": choices}, combine="one_at_a_time")
    assert arms(study) == [{"recipe": "base"}, {"recipe": "long"}, {"recipe": "short"}]
    assert [study.varied(arm).epochs for arm in study.arms] == [2, 9, 1]
    with pytest.raises(ConfigError, match="'shrt' is no choice of recipe. Did you mean 'short'"):
        study.varied({"recipe": "shrt"})


def test_what_a_group_sets_may_stand_inside_of_another_axis():
    recipes = {"plain": {}, "slow": {"optim.learning_rate": 0.01}}
    study = Study(BASE, axes={"optim": ["sgd", "adamw"], "recipe": recipes})
    assert [(e.optim.tag, e.optim.learning_rate) for e in map(study.varied, study.arms)] == [
        ("sgd", 0.1),
        ("sgd", 0.01),
        ("adamw", 0.001),
        ("adamw", 0.01),
    ]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"epochs": [1, 2], "recipe": RECIPES}, "epochs is changed by two axes, epochs and recipe"),
        ({"other": {"a": {"epochs": 3}}, "recipe": RECIPES}, "epochs is changed by two axes, other and recipe"),
        ({"recipe": {}}, "recipe has no choices"),
        ({"recipe": {"a": {"epochs": 3}, "b": {"epochs": 3}}}, "a and b are the same fields"),
        ({"recipe": {"base": {"epochs": 3}}}, "stands for the base experiment"),
        ({"recipe": {"a": {"epoch": 3}}}, "recipe, a: .*Did you mean 'epochs'"),
        ({"recipe": {"a": {"epochs": 0}}}, "recipe, a: epochs = 0: must be greater"),
        ({"recipe": {"a": {"seed": 3}}}, "seeds are set by"),
        ({"optim": {"a": {"epochs": 3}}}, "optim is a field of the experiment"),
        ({"my.recipe": {"a": {"epochs": 3}}}, "cannot name a group"),
        ({"model.featurs": [2]}, "Did you mean 'features'"),
    ],
)
def test_wrong_axes_are_refused_when_made(axes, words):
    with pytest.raises(ConfigError, match=words):
        Study(BASE, axes=axes)


# --- side by side, listed, put together

ZIPPED = Zip(axes={"model.kernel_size": [3, 5], "model.features": [4, 2]})
STAR = OneAtATime(axes={"model.pool": ["max", "average"], "epochs": [2, 4]})


def test_a_zip_goes_through_its_axes_side_by_side():
    study = Study(BASE, design=ZIPPED)
    assert arms(study) == [
        {"model.kernel_size": 3, "model.features": 4},
        {"model.kernel_size": 5, "model.features": 2},
    ]
    with pytest.raises(ConfigError, match=r"equally many values, and have: epochs 2, model\.features 3"):
        Zip(axes={"epochs": [1, 2], "model.features": [1, 2, 3]})


def test_listed_arms_have_the_bases_values_where_they_name_none():
    study = Study(BASE, design=Listed(chosen=({}, {"epochs": 5}, {"model.pool": "blur", "epochs": 7})))
    assert arms(study) == [
        {"epochs": 2, "model.pool": "max"},
        {"epochs": 5, "model.pool": "max"},
        {"epochs": 7, "model.pool": "blur"},
    ]
    assert dict(study.levels) == {"epochs": (5, 7), "model.pool": ("blur",)}
    with pytest.raises(ConfigError, match="arms 0 and 2 are the same: epochs = 5"):
        Listed(chosen=({"epochs": 5}, {}, {"epochs": 5}))


def test_listed_arms_that_are_one_with_the_bases_value_are_refused():
    listed = Listed(chosen=({"epochs": 5}, {"epochs": BASE.epochs}, {}))
    words = f"two arms are the same experiment: epochs = {BASE.epochs}, and nothing is changed"
    for design in (listed, Concatenation(designs=(listed, Grid(axes={"epochs": [3]})))):
        with pytest.raises(ConfigError, match=words):
            plan(Study(BASE, design=design))


def test_a_product_has_every_arm_of_one_with_every_arm_of_the_other():
    study = Study(BASE, design=Product(designs=(ZIPPED, STAR)))
    pairs = itertools.product(Study(BASE, design=ZIPPED).arms, Study(BASE, design=STAR).arms)
    assert arms(study) == [{**one, **other} for one, other in pairs]
    with pytest.raises(ConfigError, match="epochs is an axis of two of its designs"):
        Product(designs=(STAR, Grid(axes={"epochs": [1]})))
    with pytest.raises(ConfigError, match="epochs is changed by two axes"):
        Product(designs=(STAR, Grid(axes={"recipe": RECIPES})))


def test_a_concatenation_leaves_out_what_was_there_before():
    grid = Grid(axes={"model.pool": ["average", "max"], "model.features": [4, 8]})
    study = Study(BASE, design=Concatenation(designs=(STAR, grid)))
    assert [tuple(arm.values()) for arm in study.arms] == [
        ("max", 2, 4),
        ("average", 2, 4),
        ("max", 4, 4),
        ("average", 2, 8),
        ("max", 2, 8),
    ]
    assert study.count == 5
    many = Grid(axes={"batch_size": list(range(1, 1001)), "steps": list(range(1, 1001))})
    assert Study(BASE, design=Concatenation(designs=(many, STAR, many))).count == 2_000_003
    assert dict(study.levels) == {"model.pool": ("max", "average"), "epochs": (2, 4), "model.features": (4, 8)}
    with pytest.raises(ConfigError, match="a group of fields in one design and an axis of values in another"):
        Concatenation(designs=(Grid(axes={"recipe": RECIPES}), Grid(axes={"recipe": [1]})))
    with pytest.raises(ConfigError, match="plain sets other fields"):
        Concatenation(designs=tuple(Grid(axes={"recipe": {"plain": {"epochs": n}}}) for n in (1, 2)))


# --- drawn designs

DRAWN = {
    "optim.learning_rate": LogUniform(low=1e-3, high=1.0),
    "model.dropout": Uniform(low=0.0, high=0.5),
    "model.features": Integers(low=2, high=9),
    "model.pool": ["max", "average", "blur"],
}
DESIGNS = {
    "random": Random(axes=DRAWN, points=20, seed=3),
    "sobol": Sobol(axes=DRAWN, points=32, seed=3),
    "latin hypercube": LatinHypercube(axes=DRAWN, points=20, seed=3),
}


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Uniform(low=-1.0, high=3.0), stats.uniform(-1, 4)),
        (LogUniform(low=1e-4, high=10.0), stats.loguniform(1e-4, 10)),
        (Integers(low=-2, high=5), stats.randint(-2, 6)),
    ],
)
def test_distributions_have_scipys_quantiles(distribution, reference):
    shares = (np.arange(1000) + 0.5) / 1000
    found = [distribution.at(share) for share in shares]
    np.testing.assert_allclose(found, reference.ppf(shares), rtol=1e-5, atol=1e-5)
    assert distribution.at(0.0) == reference.support()[0]


def test_whole_numbers_even_in_their_logarithm():
    counts = np.bincount([LogIntegers(low=2, high=9).at(share) for share in (np.arange(20_000) + 0.5) / 20_000])
    expected = [0, 0, *(math.log((k + 1) / k) / math.log(10 / 2) for k in range(2, 10))]
    np.testing.assert_allclose(counts / 20_000, expected, atol=1e-4)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=list(DESIGNS))
def test_drawn_arms_are_those_of_their_seed(design):
    study = Study(BASE, design=design)
    assert study.arms == Study(BASE, design=design).arms
    assert study.arms != Study(BASE, design=design.model_copy(update={"seed": 4})).arms
    assert len(set(study.arms)) == study.count == design.points
    for arm in study.arms:
        assert 1e-3 <= arm["optim.learning_rate"] <= 1
        assert 0 <= arm["model.dropout"] <= 0.5
        assert arm["model.features"] in range(2, 10)
        assert study.varied(arm).optim.learning_rate == arm["optim.learning_rate"]
    assert study.levels["optim.learning_rate"] == tuple(sorted(arm["optim.learning_rate"] for arm in study.arms))
    assert study.levels["model.pool"] == ("max", "average", "blur")
    assert Study.from_json(study.to_json()).arms == study.arms


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_more_points_begin_with_the_fewer(kind):
    few, more = (Study(BASE, design=replace(DESIGNS[kind], {"points": points})) for points in (16, 2048))
    assert tuple(itertools.islice(more.iter_arms(), 16)) == few.arms


def shares(study):
    """Where the arms lie in the unit square of the learning rate and the dropout rate."""
    rows = [(arm["optim.learning_rate"], arm["model.dropout"]) for arm in study.arms]
    return np.array([(math.log(rate / 1e-3) / math.log(1e3), dropout / 0.5) for rate, dropout in rows])


def test_sobol_points_are_scipys_and_fill_the_space():
    axes = {path: DRAWN[path] for path in ("optim.learning_rate", "model.dropout")}
    study = Study(BASE, design=Sobol(axes=axes, points=64, seed=5))
    reference = qmc.Sobol(2, rng=np.random.Generator(np.random.PCG64(5))).random_base2(6)
    np.testing.assert_allclose(shares(study), reference, atol=1e-5)
    drawn = shares(Study(BASE, design=Random(axes=axes, points=64, seed=5)))
    assert qmc.discrepancy(reference) < qmc.discrepancy(drawn) / 5
    for width in (1, 2, 4, 8, 16):  # A net: every box of area 1/16 has four of the 64 points.
        boxes = np.floor(shares(study) * (width, 16 // width)).astype(int)
        assert set(np.unique(boxes, axis=0, return_counts=True)[1]) == {4}


def test_a_latin_hypercube_has_one_arm_in_each_part_of_each_range():
    axes = {path: DRAWN[path] for path in ("optim.learning_rate", "model.dropout")}
    points = shares(Study(BASE, design=LatinHypercube(axes=axes, points=30, seed=1)))
    assert [sorted(column) for column in np.floor(points * 30).astype(int).T] == [list(range(30))] * 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sobol(axes=DRAWN, points=48), "only powers of two are balanced, 32 or 64"),
        (lambda: Random(axes={"model.pool": ["max", "average"]}, points=3), "only 2 combinations of values, fewer"),
        (lambda: LatinHypercube(axes={"epochs": Integers(low=1, high=3)}, points=4), "only 3 combinations"),
        (lambda: Random(axes={}, points=3), "at least 1"),
        (lambda: Random(axes=DRAWN, points=0), "greater than or equal to 1"),
        (lambda: Uniform(low=1.0, high=1.0), r"low = 1\.0 is not below high = 1\.0"),
        (lambda: LogUniform(low=0.0, high=1.0), "greater than 0"),
        (lambda: Random(axes={"seed": Integers(low=0, high=9)}, points=3), "seed is no axis"),
    ],
)
def test_a_wrong_drawn_design_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_drawn_value_that_one_arm_cannot_have_prunes_that_arm():
    axes = {"model": ["small_cnn", "lenet5"], "model.features": Integers(low=2, high=9)}
    planned = plan(Study(BASE, design=Random(axes=axes, points=6), seeds=1))
    assert {arm.arm["model"] for arm in planned.pruned} == {"lenet5"}
    assert {trial.arm["model"] for trial in planned.trials} == {"small_cnn"}


def test_random_arms_of_few_values_are_all_different(monkeypatch):
    study = Study(BASE, design=Random(axes={"model.pool": ["max", "average"], "epochs": [1, 2, 3]}, points=6))
    assert len(set(study.arms)) == 6
    monkeypatch.setattr(random, "MOST_DRAWS", 1)
    rare = Study(BASE, design=Random(axes={"epochs": LogIntegers(low=1, high=2000)}, points=2000))
    with pytest.raises(ConfigError, match="after 2,000 draws only .* ask for fewer points"):
        sum(1 for _ in rare.iter_arms())


# --- two-level fractions

RUNS = {3: (3,), 4: (4,), 5: (3, 5), 6: (3, 4, 6), 7: (3, 4, 4, 7), 8: (4, 4, 5, 8), 9: (3, 4, 4, 6)}
RUNS |= {10: (3, 4, 4, 5), 11: (3, 4, 4, 5), 12: (3,), 13: (3,), 14: (3,), 15: (3,)}
"""The resolutions in the textbook's table, by the number of axes, fewest arms first."""


def signs(design: Design) -> np.ndarray:
    """The arms as rows of -1 and 1, a column for each axis."""
    values = design.all_axes()
    base = {name: axis[0] for name, axis in values.items()}
    return np.array([[2 * values[n].index(value) - 1 for n, value in arm.items()] for arm in design.arms(base)])


def resolution(matrix: np.ndarray) -> int:
    """The fewest columns whose product is the same in every row, by trying them all."""
    axes = range(matrix.shape[1])
    for size in range(1, matrix.shape[1] + 1):
        for chosen in itertools.combinations(axes, size):
            if abs(matrix[:, chosen].prod(axis=1).sum()) == len(matrix):
                return size
    return matrix.shape[1] + 1


@pytest.mark.parametrize("axes", sorted(TABLE))
def test_fractions_are_the_textbooks(axes):
    """Resolutions of Box, Hunter and Hunter (2005), table 6.22, found in the arms themselves."""
    two_level = {f"axis{letter}": [0, 1] for letter in LETTERS[:axes]}
    for row, expected in zip(TABLE[axes], RUNS[axes], strict=True):
        names, words = list(two_level), row.split()
        made = dict(zip(names[axes - len(words) :], (tuple(f"axis{x}" for x in word) for word in words), strict=True))
        matrix = signs(FractionalFactorial(axes=two_level, generators=made))
        assert matrix.shape == (2 ** (axes - len(words)), axes)
        assert len(np.unique(matrix, axis=0)) == len(matrix)
        assert (matrix.T @ matrix == len(matrix) * np.eye(axes)).all()
        assert resolution(matrix) == expected


def letters(*axes: str) -> dict[str, list[int]]:
    return {axis: [0, 1] for axis in axes}


def test_the_saturated_design_of_seven_axes_in_eight_arms():
    """2^(7-4): D = AB, E = AC, F = BC, G = ABC; Montgomery (2013), section 8.5: A is confused with BD, CE and FG."""
    design = FractionalFactorial(axes=letters(*"ABCDEFG"), resolution=3)
    assert {name: "".join(sources) for name, sources in design.chosen_generators.items()} == {
        "D": "AB",
        "E": "AC",
        "F": "BC",
        "G": "ABC",
    }
    assert design.count({}) == 8
    said = {
        "".join(sorted(effect)): ["".join(sorted(o)) for o in others] for effect, others in design.aliases().items()
    }
    mains = {"A": "BD CE FG", "B": "AD CF EG", "C": "AE BF DG", "D": "AB CG EF"}
    mains |= {"E": "AC BG DF", "F": "AG BC DE", "G": "AF BE CD"}
    assert {effect: others for effect, others in said.items() if len(effect) == 1} == {
        effect: others.split() for effect, others in mains.items()
    }


@pytest.mark.parametrize(("axes", "wanted"), [(4, 4), (5, 3), (5, 5), (6, 4), (7, 4)])
def test_aliases_are_equal_columns(axes, wanted):
    design = FractionalFactorial(axes=letters(*LETTERS[:axes]), resolution=wanted)
    matrix, names = signs(design), list(LETTERS[:axes])
    effects = [frozenset(chosen) for k in (1, 2) for chosen in itertools.combinations(names, k)]
    columns = {effect: matrix[:, [names.index(axis) for axis in effect]].prod(axis=1) for effect in effects}
    for effect in effects:
        same = {other for other in effects if other != effect and (columns[other] == columns[effect]).all()}
        assert set(design.aliases().get(effect, ())) == same


def test_a_resolution_that_no_fraction_has_is_the_grid():
    design = FractionalFactorial(axes=letters(*"ABC"), resolution=5)
    assert design.count({}) == 8
    assert len(np.unique(signs(design), axis=0)) == 8


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"axes": {"a": [1, 2, 3]}, "resolution": 3}, "a has 3 values: it takes two"),
        ({"axes": letters(*"ABC")}, "give a resolution"),
        ({"axes": letters(*"ABC"), "resolution": 3, "generators": {"C": ["A", "B"]}}, "and not both"),
        ({"axes": letters(*"ABC"), "generators": {"C": ["A", "D"]}}, "'D' is no axis"),
        ({"axes": letters(*"ABCD"), "generators": {"C": ["A", "B"], "D": ["A", "C"]}}, "D is made of C"),
        ({"axes": letters(*"ABC"), "generators": {"C": ["A", "A"]}}, "names an axis twice"),
        ({"axes": letters(*"ABC"), "generators": {"C": ["A"]}}, "A and C always change together"),
        ({"axes": letters(*LETTERS[:12]), "resolution": 4}, "there is no table of resolution 4 for 12 axes"),
    ],
)
def test_a_wrong_fraction_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        FractionalFactorial(**fields)


# --- exclusions


def pools(**fields):
    axes = {"model.kernel_size": [3, 5, 7], "model.strides": [1, 2], "model.norm": ["none", BatchNorm()]}
    return Study(BASE, axes=axes, **fields)


def left(*exclude):
    """(kernel, stride, norm is on) of the arms that are left."""
    found = [
        (arm["model.kernel_size"], arm["model.strides"], arm["model.norm"] != "none")
        for arm in arms(pools(exclude=exclude))
    ]
    return found


EVERY = list(itertools.product([3, 5, 7], [1, 2], [False, True]))


@pytest.mark.parametrize(
    ("written", "is_left"),
    [
        ("model.kernel_size == 7 requires model.strides == 1", lambda k, s, n: k != 7 or s == 1),
        ("model.kernel_size=7 model.strides=2", lambda k, s, n: (k, s) != (7, 2)),
        ({"model.kernel_size": 7, "model.strides": 2}, lambda k, s, n: (k, s) != (7, 2)),
        ("model.kernel_size=7", lambda k, s, n: k != 7),
        ("model.norm=batch", lambda k, s, n: not n),
        ({"model.norm": BatchNorm()}, lambda k, s, n: not n),
        ("model.norm == none", lambda k, s, n: n),
        ("model.norm != none and model.strides == 2", lambda k, s, n: not (n and s == 2)),
        ("model.kernel_size in [5, 7] or model.norm == batch", lambda k, s, n: k == 3 and not n),
        ("model.kernel_size not in [3,5]", lambda k, s, n: k != 7),
        ("model.kernel_size=7 and model.strides!=1", lambda k, s, n: k != 7 or s == 1),
        ("not (model.kernel_size < 5 or model.strides >= 2)", lambda k, s, n: k < 5 or s >= 2),
        (
            "model.strides > 1 and (model.norm == 'batch' or model.kernel_size <= 3)",
            lambda k, s, n: not (s > 1 and (n or k <= 3)),
        ),
        ("model.features == 4 and model.kernel_size == 3", lambda k, s, n: k != 3),
        (lambda experiment: experiment.model.kernel_size * experiment.model.strides > 7, lambda k, s, n: k * s <= 7),
    ],
)
def test_exclusions_leave_out_what_they_say(written, is_left):
    assert left(written) == [arm for arm in EVERY if is_left(*arm)]
    assert pools(exclude=[written]).count == 12


def test_several_exclusions_leave_out_what_any_of_them_says():
    assert left("model.kernel_size=7", {"model.norm": "batch"}) == [
        (3, 1, False),
        (3, 2, False),
        (5, 1, False),
        (5, 2, False),
    ]


def test_a_field_that_an_arm_does_not_have_fulfils_nothing():
    study = Study(BASE, axes={"optim": ["sgd", "adamw"]}, exclude=["optim.momentum == 0.9"])
    assert arms(study) == [{"optim": "adamw"}]
    with pytest.raises(ConfigError, match="leaves out none"):
        _ = Study(BASE, axes={"optim": ["sgd", "adamw"]}, exclude=["optim.momentum not in [0.9]"]).arms


def test_the_choices_of_a_group_are_values_in_a_condition():
    study = Study(
        BASE, axes={"recipe": RECIPES, "model.features": [2, 4]}, exclude=["recipe == strong and epochs == 9"]
    )
    assert {arm["recipe"] for arm in study.arms} == {"plain"}


def wrong(experiment):
    return experiment.model.kernel


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        (["model.kernel_size >= 7 and model.kernel_size == 3"], "leaves out none of the 12 arms"),
        (["model.kernel_size == 7 requires model.strides in [1, 2]"], "leaves out none"),
        (["model.strides=1", "model.strides=2"], "nothing is left of the 12 arms: model.strides=1; model.strides=2"),
        (["model.kernl_size == 7"], "Did you mean 'kernel_size'"),
        ([{"recipe": "plain"}], "recipe"),
        (["model.kernel_size => 7"], "'>', where a value should stand"),
        (["model.kernel_size == 7 requires"], "it ends, where a path should stand"),
        (["model.kernel_size == 7 model.strides == 1"], "'model.strides' follows a whole condition"),
        (["(model.kernel_size == 7"], "it ends, where \\) should stand"),
        (["model.kernel_size in 7"], "several values in brackets"),
        (["model.kernel_size < max"], "'max', where a number should stand"),
        (["model.norm < 3"], "model.norm is none, which is no number"),
        (["7 == model.kernel_size"], "'7', where a path should stand"),
        (["a=1 a=2"], "gives a path twice"),
        ([wrong], "function wrong raises AttributeError"),
        ([lambda experiment: experiment.model.kernel_size], "must return True or False, not 3"),
        ([3], "exclude"),
    ],
)
def test_a_wrong_exclusion_is_refused(exclude, words):
    with pytest.raises(ConfigError, match=words):
        _ = pools(exclude=exclude).arms


@pytest.mark.parametrize("written", ["model.strides == 1 and", "model.strides=1 model.strides=2"])
def test_where_a_wrong_exclusion_stands_is_said_once(written):
    with pytest.raises(ConfigError) as refused:
        pools(exclude=["model.kernel_size == 7", written])
    assert str(refused.value).startswith(f"Study: exclude.1: {written!r}")


def test_an_exclusion_outlives_json_but_for_functions():
    study = pools(exclude=["model.kernel_size == 7", {"model.norm": "batch"}])
    assert Study.from_json(study.to_json()).arms == study.arms
    study = pools(exclude=[lambda experiment: experiment.model.strides == 2])
    with pytest.raises(ConfigError, match="stands in the experiment file"):
        _ = Study.from_json(study.to_json()).arms


def test_an_override_that_a_design_or_a_group_would_overrule_is_refused():
    zipped, grouped = Study(BASE, design=ZIPPED), Study(BASE, axes={"recipe": RECIPES})
    for study, path in ((zipped, "model.features"), (grouped, "epochs"), (grouped, "recipe")):
        with pytest.raises(ConfigError, match=f"{path}: the study's axis .* sets it"):
            with_overrides(study, {path: "3"})
    assert with_overrides(zipped, {"epochs": "3"}).experiment.epochs == 3
