"""A report as Markdown beside its pictures, and as one self-contained HTML page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cnnjax.documents import html
from cnnjax.documents.html import escape
from cnnjax.documents.markdown import escaped, markdown
from cnnjax.reporting.findings import Findings
from cnnjax.visible import one_line


def render_markdown(findings: Findings) -> str:
    """The report in Markdown; it shows the pictures as files in the folder `figures` beside it."""
    asked = findings.question
    lines = [f"# {escaped(findings.title)}", "", *([f"> {escaped(asked)}", ""] if asked else [])]
    lines += [f"- {escaped(sentence)}" for sentence in findings.head]
    if findings.more:
        more = [f"- {escaped(sentence)}" for sentence in findings.more]
        lines += ["", "<details><summary>More</summary>", "", *more, "", "</details>"]
    for section in findings.sections:
        lines += ["", f"## {escaped(section.title)}", "", markdown(section.blocks, pictures="figures").rstrip("\n")]
    if findings.base:
        lines += ["", "## Base experiment", "", *(f"    {one_line(line)}" for line in findings.base)]
    return "\n".join(lines) + "\n"


def render_html(findings: Findings, *, version: str | None = None) -> str:
    """The report as one HTML page, pictures inside: nothing is loaded from elsewhere.

    version: where a server watches the study (`cnnjax report --watch`), which page of it this is.
    """
    sections = findings.sections
    question = f'<p class="question">{escape(_flowing(findings.question))}</p>' if findings.question else ""
    more = f'<details class="more"><summary>More</summary>{_listed(findings.more)}</details>' if findings.more else ""
    body = "\n".join(map(html.section, sections))
    places = [(each.anchor, each.title) for each in sections]
    base = ""
    if findings.base:
        places.append(("base", "Base experiment"))
        listed = escape("\n".join(findings.base))
        base = f'\n<section id="base"><h2>Base experiment</h2><pre tabindex="0">{listed}</pre></section>'
    return html.page(
        findings.title,
        f"""<header>
<h1>{escape(findings.title)}</h1>
{question}
{_listed(findings.head)}
{more}
{html.contents(places)}
</header>
{body}{base}""",
        version=version,
    )


def _listed(sentences: Sequence[str]) -> str:
    items = "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="headline">\n{items}\n</ul>'


def _flowing(text: str) -> str:
    """A text whose lines were broken to fit a file, with its paragraphs and lists in lines of their own."""
    return re.sub(r"(?<=\S)\n(?=[^\s*+-])", " ", text)
