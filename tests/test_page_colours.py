"""The colours of a report's page: what is read and what is drawn stand out in both themes (WCAG 2.2 AA)."""

from __future__ import annotations

import re

import pytest

from cnnjax.documents import html
from cnnjax.documents.colours import contrast, on_dark
from cnnjax.documents.style import CATEGORIES
from cnnjax.reporting.drawing import MEAN, colours
from cnnjax.reporting.labels import Axis

THEMES = {"light": r":root \{ color-scheme: light dark;([^}]*)\}", "dark": r":root\[data-theme=dark\] \{([^}]*)\}"}
ORDERED = colours(Axis("a", "a", tuple(range(8)), tuple("abcdefgh")))


def theme(name: str, colours: tuple[str, ...] = ()) -> dict[str, str]:
    """The variables that a page declares, for pictures of these colours."""
    body = "".join(f"var(--p-{colour.lower()[1:]})" for colour in colours)
    found = re.findall(THEMES[name], html.page("", body))
    assert len(found) == 1
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", found[0]))


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#ffffff", "#000000", 21.0), ("#777777", "#ffffff", 4.478), ("#0000ff", "#ffff00", 8.0)],
)
def test_contrast_against_published_values(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize("name", THEMES)
def test_texts_have_a_contrast_of_4_5(name: str) -> None:
    said = theme(name)
    for text in ("ink", "soft", "link"):
        for ground in ("paper", "band", "mark"):
            assert contrast(said[text], said[ground]) >= 4.5, f"{text} on {ground}"


@pytest.mark.parametrize("name", THEMES)
def test_marks_have_a_contrast_of_3(name: str) -> None:
    drawn = (*CATEGORIES, MEAN, *ORDERED)
    said = theme(name, drawn)
    for colour in drawn:
        assert contrast(said[f"p-{colour.lower()[1:]}"], said["paper"]) >= 3, colour
    assert contrast(said["focus"], said["paper"]) >= 3


@pytest.mark.parametrize("name", THEMES)
def test_shades_of_numbers_keep_their_order(name: str) -> None:
    said = theme(name, tuple(ORDERED))
    shades = [contrast(said[f"p-{colour[1:]}"], said["paper"]) for colour in ORDERED]
    assert shades == sorted(shades, reverse=name == "light")


def test_the_dark_theme_is_the_same_by_choice_and_by_the_system() -> None:
    text = html.page("", "var(--p-123456)")
    system = re.findall(r":root:not\(\[data-theme=light\]\) \{([^}]*)\}", text)
    assert system[0].split() == re.findall(THEMES["dark"], text)[0].replace("color-scheme: dark;", "").split()


def test_white_is_the_dark_paper_and_black_reads_on_it() -> None:
    assert contrast(on_dark("#ffffff"), theme("dark")["paper"]) < 1.02
    assert contrast(on_dark("#000000"), theme("dark")["paper"]) > 12
