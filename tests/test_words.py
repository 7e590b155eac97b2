"""Above tasks nothing knows what is predicted: no accuracy, no logits, no classes of labels.

What a metric is stands in its `Specification`, and what outputs are is for the task. What may say the words all the
same is listed here, each with the reason.
"""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cnnjax"
ABOVE_TASKS = ("run", "study", "launch", "reporting", "loggers", "cli", "progress/showing.py")
TEXT = re.compile(r"\b(accurac(?:y|ies)|logits?)(?![a-z])", re.IGNORECASE)
"""In names, texts and comments. That "class" in a sentence is a class of labels and not of Python cannot be told."""
NAME = re.compile(r"(?:^|_)class(?:es)?(?:$|_)")
PYTHONS = ("class", "__class__", "logger_class", "logger_classes")

OF_LABELS = "answers of classification"
NAMED = "a data set's classes have names, which weights and other data are matched by"
BY_CLASS = "an evaluation's numbers by class, of labels or of pixels"
PUBLISHED = "published networks end in a layer named logits, of as many classes"
ALLOWED = {
    "run/classes.py": NAMED,
    "run/evaluate.py": NAMED,
    "run/pack.py": NAMED,
    "run/program.py": NAMED,
    "run/resolve.py": NAMED,
    "run/predict.py": OF_LABELS,
    "run/trained.py": OF_LABELS,
    "run/weights.py": PUBLISHED,
    "cli/import_torch.py": PUBLISHED,
    "study/describe.py": PUBLISHED,
    "run/room.py": PUBLISHED,
    "study/subject.py": PUBLISHED,
    "progress/parts.py": BY_CLASS,
    "reporting/at_chance.py": BY_CLASS,
    "reporting/kept.py": BY_CLASS,
    "reporting/confusions.py": BY_CLASS,
    "reporting/picture_confusion.py": BY_CLASS,
    "reporting/panels/calibration.py": OF_LABELS,
    "reporting/panels/recall.py": BY_CLASS,
    "cli/evaluate.py": BY_CLASS,
    "cli/completing.py": "classes of configs, whose fields are completed",
    "study/data_view.py": "what `cnnjax data show` counts and draws",
    "study/data_pictures.py": "what `cnnjax data show` counts and draws",
    "study/overlays.py": "what `cnnjax data show` counts and draws",
}


def files() -> list[Path]:
    return [path for name in ABOVE_TASKS for path in sorted((PACKAGE / name).rglob("*.py")) or [PACKAGE / name]]


def said(source: str) -> list[str]:
    """The lines of a source that say one of the words, `12: class_names`."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        words = TEXT.findall(token.string.replace("_", " "))
        if token.type == tokenize.NAME and NAME.search(token.string) and token.string not in PYTHONS:
            words.append(token.string)
        found += [f"{token.start[0]}: {word}" for word in words]
    return found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class A: pass\nb = A().__class__", []),
        ("x = class_names", ["1: class_names"]),
        ("a.classes = 1 # Accuracies", ["1: classes", "1: Accuracies"]),
        ('"test_accuracy"', ["1: accuracy"]),
        ('"""of own classes"""', []),
        ("logits_of(x)", ["1: logits"]),
        ("classmethod, dataclass, subclasses", []),
    ],
)
def test_the_words_are_found(source: str, words: list[str]) -> None:
    assert said(source) == words


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_above_tasks_says_what_is_predicted(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    words = said(path.read_text(encoding="utf-8"))
    assert name in ALLOWED or not words, f"{name} knows what is predicted: {', '.join(words)}"


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_needed(name: str) -> None:
    assert said((PACKAGE / name).read_text(encoding="utf-8")), f"{name} is clean now: take it off the list"
