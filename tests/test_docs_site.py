"""The documentation's site: its pages and their links, what the check of a rendered site finds, and the site itself."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.make import repository
from docs.make.__main__ import made, make, settings
from docs.make.checks import faults
from tests.chromium import CHROMIUM, Browser

ROOT = Path(__file__).parents[1]


# --- pages


def test_every_page_is_made_and_in_the_nav(tmp_path):
    make(tmp_path / "build")
    made = {path.relative_to(tmp_path / "build/docs").as_posix() for path in (tmp_path / "build/docs").rglob("*.md")}
    assert {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")} <= made
    assert {"changelog.md", "contributing.md", "experiments.md", "results.md"} <= made
    assert not list((tmp_path / "build").rglob("*.py"))
    with pytest.raises(repository.PageError, match=r"nav lacks new\.md"):
        settings((ROOT / "docs/mkdocs.yml").read_text(), ["lanes.md", "new.md"])
    nav = "nav:\n  - A:\n      - of/*\n      - a.md\n  - B:\n      - none/*\n"
    assert settings(nav, ["of/b.md", "of/c.md"]) == "nav:\n  - A:\n      - of/b.md\n      - of/c.md\n      - a.md\n"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("[a](../CONTRIBUTING.md#to-add)", "[a](../contributing.md#to-add)"),
        ("[a](../lanes.md) `[a](../lanes.md)`", "[a](../lanes.md) `[a](../lanes.md)`"),
        ("![a](../data/digits.png)", "![a](../data/digits.png)"),
        ("[`w`](../../experiments/chirps/window.py)", "[`w`](../files/experiments/chirps/window.py.md)"),
        ("[a](https://example.org/a.md) [b](#b)", "[a](https://example.org/a.md) [b](#b)"),
        ("```\n[a](../../no.md)\n```", "```\n[a](../../no.md)\n```"),
    ],
)
def test_links_of_the_repository_are_those_of_the_site(text, made):
    source = ROOT / "docs/methods/sgd.md"
    assert repository.page(text.replace("../CONTRIBUTING", "../../CONTRIBUTING"), source, "methods/sgd.md") == made


def test_a_link_to_no_file_is_refused():
    with pytest.raises(repository.PageError, match=r"docs/lanes\.md: \.\./no\.md is no file"):
        repository.page("[a](../no.md)", ROOT / "docs/lanes.md", "lanes.md")


def test_a_section_is_what_stands_below_its_heading():
    text = "# T\n\n## To add ... touch ...\n\none\n\n```\n# no heading\n```\n\n### Sub\n\ntwo\n\n## Next\n\nthree\n"
    assert repository.section(text, "to-add--touch-") == "one\n\n```\n# no heading\n```\n\n### Sub\n\ntwo"
    with pytest.raises(repository.PageError, match="no-such"):
        repository.section(text, "no-such")
    made = repository.page("<!-- include ../README.md#networks -->", ROOT / "docs/index.md", "index.md")
    assert "LeNet-5" in made
    assert "[docs/architectures.md](architectures.md)" in made


# --- the check


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="other.html#there">', ""),
        ('<a href="other.html#gone">', "other.html#gone: no such anchor"),
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="../secret.html">', "../secret.html leads nowhere"),
        ('<a href="#here"><p id="here">', ""),
        ('<a href="#gone">', "#gone: no such anchor"),
        ('<a href="/other.html">', "/other.html is not relative"),
        ('<a href="https://example.org">', ""),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org/a.css"),
        ('<img srcset="other.html 1x, https://example.org/a.png 2x">', "loads https://example.org/a.png"),
        ("<style>@import 'https://example.org/a.css';</style>", "loads https://example.org/a.css"),
        ('<p style="background: url(https://example.org/a.png)">', "loads https://example.org/a.png"),
        ('<img src="data:image/png;base64,AA">', ""),
    ],
)
def test_the_check_finds(tmp_path, html, fault):
    (tmp_path / "site").mkdir()
    (tmp_path / "secret.html").write_text("")
    (tmp_path / "site/other.html").write_text('<h2 id="there">There</h2>')
    (tmp_path / "site/page.html").write_text(html)
    found = faults(tmp_path / "site")
    assert len(found) == (fault != "")
    assert not found or found[0].startswith(f"page.html: {fault}")


def test_the_check_reads_styles(tmp_path):
    (tmp_path / "a.css").write_text("a { background: url('https://example.org/a.png') } b { background: url(a.css) }")
    assert faults(tmp_path) == ["a.css: loads https://example.org/a.png"]


# --- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("zensical", reason="needs zensical (make docs)")
    build = tmp_path_factory.mktemp("docs") / "build"
    for line in (["docs.make", build], ["zensical", "build", "--strict", "--config-file", build / "mkdocs.yml"]):
        done = subprocess.run([sys.executable, "-m", *map(str, line)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "site"


@pytest.mark.docs
def test_the_site_has_every_page_and_no_fault(site):
    assert faults(site) == []
    rendered = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {uri.removesuffix(".md") for uri in repository.pages() | made()} == rendered - {"404"}


class Article(HTMLParser):
    """How many of each element the article of a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.counts = False, dict.fromkeys(("li", "tr", "pre", "img", "h2", "h3"), 0)

    def handle_starttag(self, tag, attrs):
        self.inside |= tag == "article"
        if self.inside and tag in self.counts:
            self.counts[tag] += 1

    def handle_endtag(self, tag):
        self.inside &= tag != "article"


@pytest.mark.docs
def test_pages_look_as_they_do_in_the_repository(site):
    """By CommonMark, as in the repository: the site's Markdown wants other indents and blank lines."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark").enable("table")
    for path in sorted((ROOT / "docs").rglob("*.md")):
        page, text = Article(), path.read_text()
        page.feed((site / path.relative_to(ROOT / "docs").with_suffix(".html")).read_text())
        wanted = Article()
        wanted.feed(f"<article>{reader.render(text)}</article>")
        if "<!-- include" not in text:
            assert page.counts == wanted.counts, path


@pytest.mark.docs
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
def test_pages_load_nothing_from_elsewhere_and_search_works_from_a_folder(site, tmp_path):
    browser = Browser(tmp_path / "profile")
    browser.size(1280, 900)
    try:
        # What each page says that it loads is checked above; that the scripts they share load no more, on some of them.
        for path in sorted(set(site.rglob("*.html")) - {site / "404.html"})[::6]:
            browser.open(path.as_uri())
            assert [each for each in browser.requests if not each.startswith((site.as_uri(), "data:"))] == [], path
        browser.open((site / "index.html").as_uri())
        browser.point(".md-search__button", click=True)
        everything = "[...document.querySelectorAll('*')]"
        browser.wait(f"{everything}.some(each => each.shadowRoot?.activeElement?.tagName === 'INPUT')")
        browser.send("Input.insertText", text="schedule-free")
        shown = f"{everything}.map(each => each.shadowRoot?.textContent ?? '').join('')"
        browser.wait(f"{shown}.includes('Schedule-free SGD and AdamW')")
        assert not browser.said
    finally:
        browser.close()
