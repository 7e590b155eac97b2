"""Checks the site that was rendered: every link leads somewhere, anchors too, and no page loads what stands elsewhere.

    python -m docs.make.checks build/site

It reads the HTML, and so knows nothing of how that was made. What a page only offers to follow (`<a href="https:...">`)
is not looked up.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

FOLLOWED = {("a", "href"), ("form", "action")}
"""What a reader has to click; all other addresses are loaded with the page."""
ADDRESSES = ("href", "src", "srcset", "action", "data", "poster", "xlink:href")
NAMES = {("link", "canonical"), ("link", "alternate"), ("link", "next"), ("link", "prev")}
"""Links of a page's head that load nothing."""
IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class _Page(HTMLParser):
    """The anchors of a page, and the addresses that it has: which of them it loads, and which it offers."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.followed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        for name in ADDRESSES:
            if name in named and (tag, named.get("rel")) not in NAMES:
                where = self.followed if (tag, name) in FOLLOWED else self.loaded
                where += [each.split()[0] for each in named[name].split(",")] if name == "srcset" else [named[name]]
        self.loaded += _of_style(named.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.loaded += _of_style(data)


def _of_style(text: str) -> list[str]:
    return [first or second for first, second in IN_STYLE.findall(text)]


def faults(site: Path) -> list[str]:
    """What is wrong, a line each: `page.html: what`."""
    # Of 404.html a web server alone makes use, at any depth: its addresses are from the root.
    pages = {path.resolve(): _parsed(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    found = []
    for path, page in pages.items():
        said = path.relative_to(site.resolve())
        for address in [*page.loaded, *page.followed]:
            if fault := _fault(address, path, pages, site.resolve(), loads=address in page.loaded):
                found.append(f"{said}: {fault}")
    for path in sorted(site.rglob("*.css")):
        for address in _of_style(path.read_text(encoding="utf-8")):
            if fault := _fault(address, path.resolve(), pages, site.resolve(), loads=True):
                found.append(f"{path.relative_to(site)}: {fault}")
    return list(dict.fromkeys(found))


def _parsed(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _fault(address: str, path: Path, pages: dict[Path, _Page], site: Path, *, loads: bool) -> str:
    """What is wrong with one address of the page or style at `path`; "" if nothing is."""
    whole, anchor = urldefrag(address)
    parts = urlsplit(whole)
    if parts.scheme in ("data", "javascript", "mailto"):
        return ""
    if parts.scheme or parts.netloc:
        return f"loads {address}" if loads else ""
    if parts.path.startswith("/"):
        return f"{address} is not relative, and so leads nowhere where the site is read from a folder"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_relative_to(site) or not target.exists():
        return f"{address} leads nowhere"
    if anchor and target in pages and unquote(anchor) not in pages[target].anchors:
        return f"{address}: no such anchor"
    return ""


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]))
    print("\n".join(lines))
    sys.exit(f"{len(lines)} faults" if lines else 0)
