"""Writes the Markdown that the site is rendered from into a folder, and beside it the settings with the whole nav.

    python -m docs.make build

`build/docs/` then has every page, `build/mkdocs.yml` the settings of docs/mkdocs.yml. In their nav `methods/*` stands
for all pages of a folder; a section without pages is left out.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from docs.make import api, commands, configs, repository


def settings(text: str, uris: list[str]) -> str:
    """The settings with every page in the nav, as `methods/*` asks; PageError for a page that it lacks."""

    def filled(match: re.Match[str]) -> str:
        below = [uri for uri in uris if Path(uri).parent.as_posix() == match[2] and uri not in text]
        return "".join(f"{match[1]}- {uri}\n" for uri in below)

    whole = re.sub(r"^( *)- (\S+)/\*\n", filled, text, flags=re.MULTILINE)
    whole = re.sub(r"^( *)- [^\n]+:\n(?!\1 )", "", whole, flags=re.MULTILINE)
    named = set(re.findall(r"(\S+\.md)$", whole, re.MULTILINE))
    if missing := [uri for uri in uris if uri not in named and not uri.startswith("files/")]:
        raise repository.PageError(f"docs/mkdocs.yml: its nav lacks {', '.join(missing)}")
    return whole


def made() -> dict[str, str]:
    """The pages that are made from the code, by their place in the site."""
    return configs.pages() | {"reference/commands.md": commands.page(), "reference/python.md": api.page()}


def make(folder: Path) -> None:
    """Write all pages and the settings; what the folder had is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    texts = repository.pages() | made()
    for uri, text in texts.items():
        path = folder / "docs" / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for uri, source in repository.files().items():
        path = folder / "docs" / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    text = (repository.DOCS / "mkdocs.yml").read_text(encoding="utf-8")
    (folder / "mkdocs.yml").write_text(settings(text, sorted(texts)), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
