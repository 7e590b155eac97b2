"""The reference of configs, made from the configs: every union, its members, their fields."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Sequence

import cnnjax
from cnnjax.config import Config, is_lane
from cnnjax.config.unions import _UNIONS
from docs.make.fields import default, descriptions, labelled, typed, written
from docs.make.units import unit

PAGES: dict[str, tuple[str, Sequence[str]]] = {
    "experiment": ("Experiment and study", ("Experiment", "Study", "Budget", "Exclusion")),
    "model": ("Networks", ("Model",)),
    "blocks": ("Parts of networks", ("Norm", "Layer", "Stem", "Attention", "Stage", "Generator")),
    "heads": ("Heads", ("Head", "Detector", "Captioner", "Decoding")),
    "data": ("Data", ("Data", "Fit", "FrontEnd", "Skeleton")),
    "augmentation": ("Augmentation", ("Augmentation", "Mixing", "TestTime", "Resolution")),
    "optim": ("Optimizers", ("Optim", "Group")),
    "schedule": ("Schedules", ("Schedule",)),
    "loss": ("Losses", ("Loss", "BoxLoss")),
    "method": ("Training methods", ("Method",)),
    "initialization": ("Initial weights", ("Initialization", "Rule")),
    "task": ("Tasks", ("Task",)),
    "design": ("Designs", ("Design", "Distribution", "Adaptive")),
    "card": ("Cards", ("Card", "Band", "Claim", "Machine", "Published", "WholeSet")),
}
"""The pages, each with its title and the unions and single configs that stand on it."""
PATHS = {
    "Model": "model",
    "Data": "data",
    "Optim": "optim",
    "Schedule": "optim.schedule",
    "Group": "optim.groups.NAME",
    "Loss": "loss",
    "BoxLoss": "task.box_loss",
    "Task": "task",
    "Head": "task.head",
    "Detector": "task.head",
    "Captioner": "task.head",
    "Generator": "task.generator",
    "Augmentation": "augment.0",
    "Mixing": "mixing",
    "TestTime": "test_time",
    "Resolution": "resolution",
    "Method": "methods.0",
    "Initialization": "initialization",
    "Fit": "data.fit",
    "FrontEnd": "data.front",
    "Norm": "model.norm",
    "Attention": "model.attention",
    "Stem": "model.stem",
    "Layer": "model.layers.0",
}
"""Where each stands in an experiment; what is not here stands in a study or a card."""
HEAD = "| field | type, values and *unit* | default | what it is |\n|---|---|---|---|\n"


def classes() -> list[type[Config]]:
    """Every config of the package, bases that are no member of a union too."""
    for module in pkgutil.walk_packages(cnnjax.__path__, "cnnjax."):
        if not module.name.endswith("__main__") and ".recipes.experiments" not in module.name:
            importlib.import_module(module.name)
    found = {each for each in _subclasses(Config) if each.__module__.startswith("cnnjax.")}
    return sorted(found, key=lambda each: (each.__name__, each.__module__))


def named(name: str) -> type[Config]:
    """The class that a page calls so: a public one, or the only one of this name."""
    if name in cnnjax.__all__:
        return getattr(cnnjax, name)
    [found] = [each for each in classes() if each.__name__ == name]
    return found


def shown() -> dict[str, list[type[Config]]]:
    """The classes that stand on each page: unions, their members, and single ones."""
    found: dict[str, list[type[Config]]] = {}
    for page, (_, names) in PAGES.items():
        for each in map(named, names):
            found.setdefault(page, []).append(each)
            found[page] += members(each).values() if each in _UNIONS else []
    return found


def _subclasses(cls: type[Config]) -> Iterator[type[Config]]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)


def members(union: type[Config]) -> dict[str, type[Config]]:
    """The members of a union that come with cnnjax, by tag."""
    return {tag: each for tag, each in union.members.items() if each.__module__.startswith("cnnjax.")}


def pages() -> dict[str, str]:
    """The text of each page, by its place in the site."""
    # Of two of one name the public one has it in links.
    everything = [(page, each) for page, own in shown().items() for each in own]
    everything.sort(key=lambda pair: getattr(cnnjax, pair[1].__name__, None) is pair[1])
    places = {each.__name__: f"{page}.md#{anchor(each)}" for page, each in everything}
    found = {}
    for name, (title, of) in PAGES.items():
        parts = [f"# {title}", _intro(name), *("\n\n".join(_part(named(each))) for each in of)]
        found[f"reference/{name}.md"] = _linked("\n\n".join(part for part in parts if part), places, name)
    return found


def _intro(name: str) -> str:
    """What is said on the first page alone."""
    said = (
        "A field that is a **lane** may change without compiling anew ([lanes](../lanes.md)). Defaults are written as "
        "in Python; a field without one has to be given. The unit is what 1 of a number is. Rules between "
        "the fields of a class are checked when a config is made, and named where they are broken."
    )
    return said if name == "experiment" else ""


def anchor(cls: type[Config]) -> str:
    """The anchor of a class on its page: `sgd` of optimizers is `optim-sgd`."""
    union = cls.union
    return cls.__name__.lower() if union is None or cls is union else f"{union.__name__.lower()}-{cls.tag}"


def _linked(text: str, places: dict[str, str], page: str) -> str:
    def link(match: re.Match[str]) -> str:
        place = places.get(match[1])
        return f"`{match[1]}`" if place is None else f"[`{match[1]}`]({place.removeprefix(f'{page}.md')})"

    return re.sub(r"\[\[(\w+)]]", link, text)


def _part(cls: type[Config]) -> Iterator[str]:
    yield f"## {cls.__name__} {{#{anchor(cls)}}}"
    path = PATHS.get(cls.__name__)
    if cls in _UNIONS:
        own = members(cls)
        where = f"`{path}` of an experiment: one of " if path else "One of "
        yield where + ", ".join(f"[`{tag}`](#{anchor(each)})" for tag, each in own.items()) + "."
        yield prose(cls)
        if cls.model_fields:
            yield f"Every {cls.__name__} has:"
            yield _table(cls, list(cls.model_fields))
        for tag, each in own.items():
            yield from _member(cls, tag, each, path)
    else:
        if path:
            yield f"`{path}` of an experiment."
        yield prose(cls)
        yield _table(cls, list(cls.model_fields))


def _member(union: type[Config], tag: str, cls: type[Config], path: str | None) -> Iterator[str]:
    yield f"### `{tag}`: {cls.__name__} {{#{anchor(cls)}}}"
    yield prose(cls)
    same = [
        name
        for name, field in cls.model_fields.items()
        if (base := union.model_fields.get(name)) is not None
        and (typed(base), default(base)) == (typed(field), default(field))
    ]
    own, _ = labelled(inspect.cleandoc(cls.__doc__ or ""), tuple(cls.model_fields))
    names = [name for name in cls.model_fields if name not in same or name in own]
    if names:
        yield _table(cls, names)
    presets = {name: made() for name, made in cls.presets.items()} if path == "model" else {}
    known = {name: each for name, each in presets.items() if type(each) is cls}
    if known:
        rows = "".join(f"| `{name}` | {_code(written(each))} |\n" for name, each in known.items())
        yield f"Known by name:\n\n| name | config |\n|---|---|\n{rows}"


def _table(cls: type[Config], names: Sequence[str]) -> str:
    said, rows = descriptions(cls), []
    for name in names:
        field = cls.model_fields[name]
        lane = "<br>a lane" if is_lane(field) else ""
        of = f"<br>*{_escaped(own)}*" if (own := unit(cls, name)) else ""
        cells = (f"{_cell(typed(field))}{of}{lane}", _code(default(field)), _cell(_escaped(said[name])))
        rows.append(f"| `{name}` | {' | '.join(cells)} |\n")
    return HEAD + "".join(rows)


def prose(cls: type[Config]) -> str:
    """The docstring of a class as Markdown, without what the table says again."""
    _, rest = labelled(inspect.cleandoc(cls.__doc__ or ""), tuple(cls.model_fields))
    return _escaped(rest)


def _escaped(text: str) -> str:
    """Text of a docstring as Markdown: backticks are code, nothing else is markup."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*_\[\]])", r"\\\1", part) for part in parts)


def _cell(text: str) -> str:
    """Text as a cell of a table, which begins as a sentence does."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text[:1].upper() + text[1:]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
