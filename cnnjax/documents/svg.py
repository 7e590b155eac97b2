"""A picture's SVG as part of a page: its own ids, the page's colours, and what its marks say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from cnnjax.documents.colours import on_dark
from cnnjax.documents.document import Picture
from cnnjax.documents.style import FONT, INK
from cnnjax.visible import visible

NAMED: Mapping[str, str] = {"#ffffff": "paper", "#000000": "ink", INK: "ink"}
"""Colours of pictures that are variables of the page under another name."""
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline(picture: Picture) -> str:
    """The picture as an `<svg>` element: role img, its title and caption as `<title>` and `<desc>`.

    Ids begin with the picture's name, so that several pictures may stand in a page. A mark has its `data-key`, and a
    `<title>` with its text; it has no id. Colours are variables, which `variables` defines.
    """
    root = ElementTree.fromstring(picture.files["svg"])
    for element in root.iter():
        _placed(element, picture)
    for child in [child for child in root if child.tag == "metadata" or child.find("style") is not None]:
        root.remove(child)
    kept = {"viewBox": root.attrib["viewBox"], "role": "img", "data-name": picture.name}
    root.attrib.clear()
    root.attrib.update({**kept, "style": f"width:{picture.width}px"})
    root[:0] = [_said("title", picture.title), _said("desc", picture.caption)]
    return ElementTree.tostring(root, encoding="unicode")


def variables(svg: str) -> tuple[str, str]:
    """CSS that defines the colours of inlined pictures, for the light theme and for the dark one."""
    used = sorted(set(re.findall(r"var\(--p-([0-9a-f]{6})\)", svg)))
    light = " ".join(f"--p-{colour}: #{colour};" for colour in used)
    return light, " ".join(f"--p-{colour}: {on_dark(f'#{colour}')};" for colour in used)


def _placed(element: Element, picture: Picture) -> None:
    """Rewrites one element: no name spaces, ids of its own, colours as variables."""
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    if not (element.text or "").strip():
        element.text = None
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        local = name.rpartition("}")[2]
        if local == "id" and value in picture.marks:
            mark = picture.marks[value]
            element.attrib["data-key"] = visible(mark.key)
            element.insert(0, _said("title", mark.text))
        elif local == "id":
            element.attrib["id"] = f"{picture.name}-{value}"
        elif local == "href" and value.startswith("#"):
            element.attrib["href"] = f"#{picture.name}-{value[1:]}"
        elif local != "space":
            value = REFERENCE.sub(lambda found: f"url(#{picture.name}-{found[1]})", value)
            element.attrib[local] = value if local == "href" else COLOUR.sub(_variable, value)
    if element.tag == "text":
        style = element.attrib.get("style", "")
        element.attrib["style"] = style.replace(f"'{FONT}'", f"'{FONT}', Verdana, sans-serif")


def _variable(found: re.Match[str]) -> str:
    colour = found[0].lower()
    return f"var(--{NAMED[colour]})" if colour in NAMED else f"var(--p-{colour[1:]})"


def _said(tag: str, text: str) -> Element:
    element = Element(tag)
    element.text = visible(text)
    return element
