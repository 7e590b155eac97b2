"""The reference of what Python code imports from cnnjax; mkdocstrings fills in signatures and docstrings."""

from __future__ import annotations

import json
from functools import cached_property
from types import FunctionType

import cnnjax

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Plan, train, report": (
        "`import cnnjax`, then these.",
        ("plan", "train", "sweep", "report", "side_by_side", "results", "curves", "show_progress"),
    ),
    "How to run": ("None of it changes a result.", ("Options", "Hardware", "jit")),
    "Networks": ("", ("describe", "analyse", "Endpoint")),
    "Trained networks": (
        "",
        ("load", "Trained", "inspect", "stylize", "export", "Predictions", "Boxes", "Poses", "Sentences", "Pictures"),
    ),
    "Classes of your own": (
        "A subclass in an experiment's file is a member of its union. Their fields: [configs](experiment.md).",
        (
            *("Config", "lane", "later", "Model", "Head", "Loss", "Optim", "linear_probe", "Schedule", "Method"),
            *(
                "Initialization",
                "Augmentation",
                "Mixing",
                "TestTime",
                "Task",
                "ToImage",
                "FrontEnd",
                "Design",
                "Adaptive",
            ),
            *("Adaptive", "Candidates", "Observation", "Proposal"),
        ),
    ),
    "Data of your own": ("", ("Data", "Sound", "Dataset", "Part", "Examples", "Clips")),
    "Errors": ("", ("CnnjaxError", "ConfigError", "DataError", "RunError", "ShapeError")),
}
"""The groups, each with what is said of it and its names; all others are configs, which have pages of their own."""


def page() -> str:
    """The page of the Python API."""
    parts = ["# Python", "Everything here is imported from `cnnjax`. Configs have [their own pages](experiment.md)."]
    for title, (said, names) in GROUPS.items():
        parts += [f"## {title}", *([said] if said else [])]
        parts += [f"::: cnnjax.{name}\n    options:\n      members: {_members(name)}" for name in names]
    return "\n\n".join(parts)


def _members(name: str) -> str:
    """The methods and properties of a class that it says something of."""
    known = vars(getattr(cnnjax, name)) if name[0].isupper() else {}
    kinds = (FunctionType, classmethod, property, cached_property)
    own = [each for each, value in known.items() if isinstance(value, kinds) and value.__doc__ and each[0] != "_"]
    return json.dumps(own) if own else "false"
