"""Configs: frozen, strict, tagged unions, JSON, hashes, dotted paths."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from cnnjax.config import (
    Config,
    Named,
    NamedOf,
    bind,
    diff,
    digest,
    lane,
    lanes,
    later,
    leaves,
    outermost_first,
    parse,
    plain,
    read,
    renamed,
    replace,
    replace_text,
    replace_texts,
    split_values,
    tag_key_of,
)
from cnnjax.errors import ConfigError


class Curve(Config, union="name"):
    pass


class Flat(Curve):
    warmup: float = Field(0.0, ge=0)


class Steps(Curve, tag="steps"):
    at: tuple[float, ...] = (0.5,)


class Mover(Config, union="name"):
    pass


class Walk(Mover):
    rate: float = lane(0.1, gt=0)
    curve: Curve = Flat()
    label: str = "plain"


class Part(Config, union="op"):
    pass


class Filter(Part):
    features: int = Field(ge=1)
    kernel_size: int | tuple[int, int] = 3


class Squeeze(Part):
    kind: Literal["max", "average"] = "max"


class Tree(Config):
    mover: Mover = Walk()
    parts: NamedOf[Part] = Named()
    tuples: tuple[Part, ...] = ()
    limit: float | None = None
    seed: int = lane(0, ge=0)


Mover.presets["fast"] = lambda: Walk(rate=9.0)
TREE = Tree(parts={"a": Filter(features=3), "b": Squeeze()}, tuples=(Squeeze(kind="average"),))


def test_frozen_hashable_equal():
    assert hash(TREE) == hash(Tree.from_json(TREE.to_json()))
    with pytest.raises(ValidationError):
        TREE.seed = 1  # pyright: ignore


def test_json_round_trip_keeps_subclasses_and_order():
    again = Tree.from_json(TREE.to_json())
    assert again == TREE
    assert list(again.parts) == ["a", "b"]
    assert isinstance(again.parts["b"], Squeeze)


def test_digest_is_of_content():
    # Pinned: a change of the canonical form would orphan every finished trial.
    assert digest(TREE) == "4c967a79a281"
    assert digest(replace(TREE, {"seed": 1})) != digest(TREE)
    swapped = Tree(parts={"b": Squeeze(), "a": Filter(features=3)}, tuples=TREE.tuples)
    assert digest(swapped) != digest(TREE), "the order of layers is part of a network"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("mover.rate", 0.1),
        ("mover.name", "walk"),
        ("mover.curve.warmup", 0.0),
        ("parts.a.kernel_size", 3),
        ("parts.b.op", "squeeze"),
        ("tuples.0.kind", "average"),
        ("limit", None),
    ],
)
def test_read(path, value):
    assert read(TREE, path) == value


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("mover.rate", "1e-3", 1e-3),
        ("mover.rate", "2", 2.0),
        ("mover.label", "3", "3"),
        ("mover.label", "none", "none"),
        ("parts.a.kernel_size", "(3, 5)", (3, 5)),
        ("parts.a.kernel_size", "[3, 5]", (3, 5)),
        ("parts.b.kind", "average", "average"),
        ("tuples.0.kind", "max", "max"),
        ("mover.curve", "steps", Steps()),
        ("mover.curve.name", "steps", Steps()),
        ("mover", "fast", Walk(rate=9.0)),
        ("mover.curve", '{"name": "steps", "at": [0.1, 0.2]}', Steps(at=(0.1, 0.2))),
        ("limit", "null", None),
        ("limit", "3", 3.0),
    ],
)
def test_replace_text_is_typed_by_the_field(path, text, value):
    assert read(replace_text(TREE, path, text), path.removesuffix(".name")) == value


def test_null_removes_a_named_entry():
    assert list(replace_text(TREE, "parts.b", "null").parts) == ["a"]


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("mover.rat", "1", ["'rat' is no field of mover (Walk)", "Did you mean 'rate'?", "label"]),
        ("movr.rate", "1", ["'movr'", "'mover'"]),
        ("mover.rate", "-1", ["mover.rate = -1", "greater than 0"]),
        ("mover.rate", "x", ["mover.rate = 'x'", "number"]),
        ("mover.rate", "true", ["mover.rate = True", "number"]),
        ("mover.rate", "nan", ["mover.rate"]),
        ("mover.rate", "1e999", ["mover.rate", "finite"]),
        ("seed", "1.5", ["seed = 1.5", "integer"]),
        ("seed.deeper", "1", ["seed is 0 and has no fields"]),
        ("limit.deeper", "1", ["limit is None and has no fields; choose one first (limit=NAME)", '"FIELD": VALUE']),
        ("mover.curve", "stps", ["'stps' is no curve", "'steps'"]),
        ("mover.name", "run", ["'run' is no mover", "walk", "fast"]),
        ("parts.c.features", "1", ["'c' is no field of parts", "a, b"]),
        ("parts.a.features", "0", ["parts.a.features = 0", "greater than or equal to 1"]),
        ("parts.a", '{"op": "filter"}', ["parts.a.features: is required"]),
        ("parts.a", '{"op": "filter", "features": 1, "kernel": 3}', ["'kernel' is no field of Filter", "kernel_size"]),
        ("parts.b.kind", "avg", ["must be 'max' or 'average'"]),
        ("tuples.4.kind", "max", ["'4'", "There are: 0"]),
    ],
)
def test_bad_values_name_path_value_and_rule(path, text, words):
    with pytest.raises(ConfigError) as error:
        replace_text(TREE, path, text)
    for word in words:
        assert word in str(error.value)


def test_unknown_fields_name_their_near_misses():
    with pytest.raises(ConfigError) as error:
        Tree(sed=1)
    assert str(error.value).startswith("Tree: 'sed' is no field of Tree. Did you mean 'seed'?")


def test_a_constructor_says_in_plain_words_what_is_wrong():
    with pytest.raises(ConfigError) as error:
        Walk(rate="fast", label=3)
    assert str(error.value).splitlines() == [
        "Walk:",
        "  rate = 'fast': must be a valid number",
        "  label = 3: must be a valid string",
    ]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Walk(0.1), "Walk takes its fields by name: Walk(rate=0.1)"),
        (lambda: Tree(Walk(), seed=1), "Tree takes its fields by name: Tree(mover=Walk(), seed=1)"),
        (lambda: Tree(Walk(rate=0.5)), "Tree takes its fields by name: Tree(mover=Walk(...))"),
    ],
)
def test_fields_are_given_by_name(call, words):
    with pytest.raises(ConfigError) as error:
        call()
    assert str(error.value) == words


class Choices(Config):
    """One field of each kind that `none` may stand in."""

    limit: int | None = 3
    note: str | None = "text"
    flag: bool | None = True
    pool: Literal["max", "none"] = "max"
    perhaps: Literal["max", "none"] | None = "max"
    sizes: tuple[int, ...] = (1,)
    pair: tuple[int, int] | None = (1, 2)
    bounded: Annotated[int, Field(ge=1)] | Annotated[tuple[int, ...], Field(min_length=1)] | None = 1
    label: str = "text"
    parts: NamedOf[Part] = Named({"a": Squeeze()})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("limit", None),
        ("note", None),  # as reports print it
        ("flag", None),
        ("pool", "none"),
        ("perhaps", "none"),
        ("sizes", ()),
        ("pair", None),
        ("bounded", None),
        ("label", "none"),
    ],
)
def test_none_is_a_choice_of_that_name_or_null_or_no_entries(path, value):
    assert read(replace_texts(Choices(), {path: "none"}), path) == value
    assert read(replace_texts(Choices(), {path: "none", "parts.a.kind": "average"}), path) == value
    assert read(replace_texts(Choices(), dict.fromkeys({path, "limit", "sizes"}, "none")), path) == value


def test_none_removes_a_named_entry_as_null_does():
    for text in ("none", "null", "None"):
        assert not replace_texts(Choices(), {"parts.a": text}).parts


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("0x10", 16), ("1_000", 1000), ("true", True), ("-2", -2), ("None", None)]
)
def test_values_as_python_and_json_write_them(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("flag", "yes", "flag = 'yes': must be true or false"),
        ("flag", "1", "flag = 1: must be true or false"),
        ("mover.rate", "nan", "mover.rate = 'nan': must be a finite number"),
        ("mover.rate", "-inf", "mover.rate = '-inf': must be a finite number"),
        ("mover.rate", "nanny", "mover.rate = 'nanny': must be a valid number"),
        ("mover.rate", "NaN", "mover.rate = nan: must be a finite number"),
        ("mover.rate", "Infinity", "mover.rate = inf: must be a finite number"),
        ("mover.rate", "1e999", "mover.rate = inf: must be a finite number"),
        ("mover", "none", "'none' is no mover"),
    ],
)
def test_what_is_no_value_is_refused(path, text, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        replace_text(Choices() if path == "flag" else TREE, path, text)


def test_nothing_is_coerced():
    for bad in ({"rate": "0.1"}, {"rate": True}, {"label": 3}):
        with pytest.raises(ConfigError):
            Walk(**bad)


def test_lanes_and_bind():
    assert lanes(TREE) == {"mover.rate": 0.1, "seed": 0}
    marker = object()
    bound = bind(TREE, {"mover.rate": marker})
    assert bound.mover.rate is marker
    assert bound.parts == TREE.parts


def test_diff_and_leaves():
    other = replace(TREE, {"parts.a.features": 4, "mover.curve": "steps"})
    assert diff(TREE, other)["parts.a.features"] == (3, 4)
    assert diff(TREE, other)["mover.curve.warmup"] == (0.0, None)
    assert diff(TREE, TREE) == {}
    assert leaves(TREE)["tuples.0.kind"] == "average"


def test_members_of_a_users_own_cannot_shadow_a_built_in():
    from cnnjax.optim import Optim

    with pytest.raises(ConfigError, match="choose another tag"):
        type("SGD", (Optim,), {"__module__": "mine"})


@pytest.mark.parametrize("declare", [lane, later, functools.partial(renamed, formerly="x")])
def test_a_constraint_that_is_none_is_refused(declare):
    with pytest.raises(ConfigError, match=r"'gee' is no constraint of \w+\(...\). Did you mean 'ge'"):
        declare(0.1, gee=0)
    assert declare(0.1, ge=0, description="how much").description == "how much"


def test_named_entries_are_path_steps():
    with pytest.raises(ConfigError):
        Tree(parts={"a.b": Squeeze()})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3,5,7", ["3", "5", "7"]),
        ("(3,5),7", ["(3,5)", "7"]),
        ('{"name":"steps","at":[1,2]},flat', ['{"name":"steps","at":[1,2]}', "flat"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("max", ["max"]),
    ],
)
def test_split_values(text, values):
    assert split_values(text) == values


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(scalars | st.lists(scalars, max_size=4))
def test_parse_reads_what_python_writes(value):
    assert parse(repr(value)) == (tuple(value) if isinstance(value, list) else value)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(min_value=1e-300, max_value=1e300), st.integers(0, 2**31))
def test_floats_survive_json_bitwise(rate, seed):
    tree = replace(TREE, {"mover.rate": rate, "seed": seed})
    assert Tree.from_json(tree.to_json()) == tree
    assert plain(tree) == plain(Tree.from_json(tree.to_json()))


def test_a_member_is_made_with_the_fields_it_must_have():
    class Place(Config, union="name"):
        pass

    class Home(Place):
        rooms: int = 1

    class Abroad(Place):
        country: str
        days: int = 7

    class Trip(Config):
        place: Place = Home()
        then: Place | None = None

    later = replace_texts(Trip(), {"then": "abroad", "then.country": "Peru", "then.days": "3"})
    assert later == Trip(then=Abroad(country="Peru", days=3)), "where there is none yet, too"
    made = replace_texts(Trip(), {"place": "abroad", "place.country": "Peru", "place.days": "3"})
    assert plain(made) == {"place": {"name": "abroad", "country": "Peru", "days": 3}, "then": None}
    with pytest.raises(ConfigError, match="place.country: is required"):
        replace_texts(Trip(), {"place": "abroad", "place.days": "3"})
    with pytest.raises(ConfigError, match="contry"):
        replace_texts(Trip(), {"place": "abroad", "place.country": "Peru", "place.contry": "Chile"})


class Cup(Config, union="type"):
    pass


class Mug(Cup):
    volume: float = 0.3
    kind: Literal["plain", "striped"] = "plain"


class Glass(Cup):
    volume: float = 0.2
    stem: bool = False


class Shelf(Config):
    cup: Cup = Mug()
    part: Part = Filter(features=1)


@pytest.mark.parametrize("flip", [1, -1])
def test_a_unions_key_is_set_before_the_fields_whatever_it_is_called(flip):
    changes = {"cup.stem": "true", "cup.volume": "0.5", "cup.type": "glass"}
    changed = replace_texts(Shelf(), dict(list(changes.items())[::flip]))
    assert changed.cup == Glass(volume=0.5, stem=True)
    # A field may be called as the key of another union.
    changes = {"cup.kind": "striped", "cup": "mug", "part.kind": "average", "part.op": "squeeze"}
    changed = replace_texts(Shelf(), dict(list(changes.items())[::flip]))
    assert changed == Shelf(cup=Mug(kind="striped"), part=Squeeze(kind="average"))


def test_paths_come_after_those_that_contain_them():
    paths = ["cup.volume", "cup.type", "cup", "other", "other.op"]
    assert outermost_first(paths) == ["cup", "other", "cup.type", "other.op", "cup.volume"]


@pytest.mark.parametrize(
    ("mapping", "key"),
    [
        ({"volume": 0.1, "type": "mug", "kind": "plain"}, "type"),
        ({"kind": "max", "op": "squeeze"}, "op"),
        ({"name": "fast", "rate": 0.5}, "name"),
        ({"name": "a set that is looked up", "size": 8}, "name"),
        ({"kind": 3}, ""),
        ({"volume": 1.0}, ""),
    ],
)
def test_the_key_that_holds_a_mappings_tag(mapping, key):
    assert tag_key_of(mapping) == key


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"mover.rate": -1.0}, "mover.rate"),
        ({"mover.rat": 1.0}, "mover.rat"),
        ({"mover.curve": "stps"}, "mover.curve"),
        ({"parts.a.features": 0, "parts.a.kernel_size": 1}, "parts.a.features"),
        ({"seed.deeper": 1}, "seed.deeper"),
    ],
)
def test_an_error_knows_its_path(changes, path):
    with pytest.raises(ConfigError) as error:
        replace(TREE, changes)
    assert error.value.path == path
    assert str(error.value).startswith(path)
