"""The repository's pages as those of the site: docs/, what stands elsewhere, and the files that they link.

Links are written as the repository needs them (`../CONTRIBUTING.md#...`) and made those of the site here. A page may
have a section of another one: `<!-- include ../README.md#quick-start -->` becomes what stands below that heading.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = {
    "experiments/README.md": "experiments.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "results.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
}
"""Files of the repository outside docs/, and the page of the site that a link to one leads to."""
SHOWN = {".py": "python", ".cff": "yaml", ".yaml": "yaml", ".toml": "toml", ".json": "json"}
"""Files that become a page with their text, where a page links them. Others are linked as they are."""
CODE_OR_LINK = re.compile(r"^ *```.*?^ *```$|`[^`]+`|(?<=\]\()[^)\s]+(?=\))", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^<!-- include (\S+)#(\S+) -->$", re.MULTILINE)
CODE_OR_HEADING = re.compile(r"^```.*?^```$|^(#+) ([^\n]+)$", re.MULTILINE | re.DOTALL)


class PageError(ValueError):
    """A page that cannot be made, and why."""


def pages() -> dict[str, str]:
    """The text of each page, by its place in the site, `methods/sgd.md`."""
    sources = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
    sources |= {uri: ROOT / name for name, uri in OUTSIDE.items() if uri not in sources}
    found = {uri: page(source.read_text(encoding="utf-8"), source, uri) for uri, source in sources.items()}
    return found | {uri: _shown(path) for uri, path in linked(sources.values()).items() if path.suffix in SHOWN}


def files() -> dict[str, Path]:
    """The files that pages show or link, by their place in the site."""
    found = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.*")) if _is_file(path)}
    sources = [*DOCS.rglob("*.md"), *(ROOT / name for name in OUTSIDE)]
    return found | {uri: path for uri, path in linked(sources).items() if path.suffix not in SHOWN}


def _is_file(path: Path) -> bool:
    return path.suffix in (".png", ".css", ".js", ".yaml") and path.name != "mkdocs.yml"


def linked(sources) -> dict[str, Path]:
    """The files of the repository that pages link and that are no pages themselves, by their place in the site."""
    found = {}
    for source in sources:
        for target in _targets(source):
            if target.is_file() and target.suffix != ".md":
                found[uri_of(target)] = target
    return found


def _targets(source: Path) -> Iterator[Path]:
    for match in CODE_OR_LINK.finditer(source.read_text(encoding="utf-8")):
        target = match[0].partition("#")[0]
        if _is_path(target):
            yield (source.parent / target).resolve()


def _is_path(target: str) -> bool:
    return bool(target) and "`" not in target and "://" not in target


def _shown(path: Path) -> str:
    name, language = path.relative_to(ROOT).as_posix(), SHOWN[path.suffix]
    head = f"---\nsearch:\n  exclude: true\n---\n# {path.name}\n\n`{name}`"
    return f"{head}\n\n```{language}\n{path.read_text(encoding='utf-8')}\n```\n"


def page(text: str, source: Path, uri: str) -> str:
    """A page's text with what it includes, and with the site's links."""

    def included(match: re.Match[str]) -> str:
        other = (source.parent / match[1]).resolve()
        return _relinked(section(other.read_text(encoding="utf-8"), match[2]), other, uri)

    return INCLUDE.sub(included, _relinked(text, source, uri))


def slug(heading: str) -> str:
    """The anchor that a heading has in the repository and, by the setting `slugify` of mkdocs.yml, in the site."""
    return re.sub(r"[^\w\- ]", "", heading.strip()).lower().replace(" ", "-")


def section(text: str, anchor: str) -> str:
    """What stands below the heading with this anchor, to the next one that is not below it."""
    headings = [match for match in CODE_OR_HEADING.finditer(text) if match[1]]
    for number, match in enumerate(headings):
        if slug(match[2]) == anchor:
            later = (each.start() for each in headings[number + 1 :] if len(each[1]) <= len(match[1]))
            return text[match.end() : next(later, len(text))].strip()
    raise PageError(f"no heading has the anchor {anchor!r}")


def _relinked(text: str, source: Path, uri: str) -> str:
    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match[0].partition("#")
        if not _is_path(target):
            return match[0]
        path = (source.parent / target).resolve()
        if not path.is_file():
            raise PageError(f"{source.relative_to(ROOT)}: {target} is no file")
        return f"{os.path.relpath(uri_of(path), Path(uri).parent)}{mark}{anchor}"

    return CODE_OR_LINK.sub(link, text)


def uri_of(path: Path) -> str:
    """Where the site has a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if name in OUTSIDE:
        return OUTSIDE[name]
    if path.suffix in SHOWN:
        return f"files/{name}.md"
    return path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else f"files/{name}"
