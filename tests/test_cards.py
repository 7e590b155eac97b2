"""Cards of experiment files: what is refused, and that their claims speak of the study's axes."""

from __future__ import annotations

import pytest

from cnnjax import Band, Card, Claim, ConfigError
from cnnjax.study.file import load

FILE = '''"""Does it hold?"""
from cnnjax import Band, Card, Claim, Experiment, SmallCNN, Study

experiment = Experiment(model=SmallCNN())
study = Study(experiment, axes={axes}, seeds={seeds})
card = {card}
'''
POOL = {"model.pool": ["max", "average"]}


def written(folder, card, axes=None, seeds=3):
    path = folder / "asked.py"
    path.write_text(FILE.format(axes=axes or {}, seeds=seeds, card=card))
    return path


def claim(**changes):
    fields = {"of": {"model.pool": "max"}, "against": {"model.pool": "average"}, "expects": "more", "margin": 0.01}
    return Claim("Max pooling wins", **fields | changes)


def test_a_file_has_its_card(tmp_path):
    card = load(written(tmp_path, "Card(source='lecture', deviations=('none of it is true',))")).card
    assert card is not None
    assert card == Card(source="lecture", deviations=("none of it is true",))
    assert load(written(tmp_path, "None")).card is None


CASES = [
    ("3", {}, "`card` must be a Card"),
    ("Card(source='paper')", {}, "Card: deviations: is required"),
    ("Card(source='paper', deviations=(), band=Band(low=0.9))", {}, "Band: n: is required"),
    ("Card(source='paper', deviations=(), band=Band(low=0.9, high=0.8, n=3))", {}, "low = 0.9 is above high = 0.8"),
    ("Card(source='paper', deviations=(), band=Band(low=0.9, n=5))", {}, "card.band.n = 5, and the study has 3 seeds"),
    ("Card(source='paper', deviations=(), band=Band(low=0.9, n=3))", POOL, "the study has axes (model.pool)"),
    ("Card(source='paper', deviations=(), claims=({claim},))", {"model.strides": [1]}, "'model.pool' is no axis"),
    ("Card(source='paper', deviations=(), claims=({claim},))", {"model.pool": ["max"]}, "no value average"),
]


@pytest.mark.parametrize(("card", "axes", "message"), CASES, ids=[message for *_, message in CASES])
def test_a_card_that_cannot_be_is_refused(tmp_path, card, axes, message):
    asked = "Claim('It wins', of={'model.pool': 'max'}, against={'model.pool': 'average'}, expects='more', margin=0.1)"
    with pytest.raises(ConfigError) as error:
        load(written(tmp_path, card.replace("{claim}", asked), axes))
    assert message in str(error.value)


def test_one_arm_needs_no_tuple_and_an_interaction_has_two():
    assert claim().of == claim(of=[{"model.pool": "max"}]).of
    pairs = ({"a": 1, "b": 2}, {"a": 2, "b": 1})
    assert len(claim(of=pairs, against=({"a": 1, "b": 1}, {"a": 2, "b": 2})).of) == 2


@pytest.mark.parametrize(
    "changes", [{"margin": 0.0}, {"of": ()}, {"expects": "better"}, {"epoch": 0}, {"of": [{"a": 1}, {"a": 2}]}]
)
def test_a_claim_without_what_it_needs_is_refused(changes):
    with pytest.raises(ConfigError):
        claim(**changes)


def test_a_band_holds_both_of_its_ends():
    assert Band(low=0.5, high=0.5, n=2).low == 0.5


@pytest.mark.parametrize(
    ("of", "against"),
    [
        ({"model.pool": "max"}, {"model.pool": "max"}),
        (({"a": 1, "b": 2}, {"a": 2, "b": 1}), ({"a": 1, "b": 1}, {"b": 2, "a": 1})),
    ],
)
def test_an_arm_is_not_compared_with_itself(of, against):
    with pytest.raises(ConfigError, match="of and against name the same arm"):
        Claim("It is as good as itself", of=of, against=against, expects="same", margin=0.01)
