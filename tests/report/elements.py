"""A page as its elements: what it loads, and what it runs."""

from __future__ import annotations

import json
from html.parser import HTMLParser


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": [], "h1": []}
        self._open: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag in self.texts else None
        if self._open:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def data(self, element: str) -> dict:
        """The JSON in the script of that id."""
        ids = [attributes.get("id") for attributes in self.named("script")]
        return json.loads(self.texts["script"][ids.index(element)])

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def loads(html: str) -> list[str]:
    """Addresses a browser would fetch for this page."""
    elements = Elements(html)
    wanted = [
        value or ""
        for _, attributes in elements.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "xlink:href", "poster", "background")
    ]
    styles = elements.texts["style"] + [a["style"] or "" for _, a in elements.tags if "style" in a]
    wanted += [style for style in styles if "@import" in style or "url(" in style.replace("url(#", "")]
    return [address for address in wanted if not address.startswith(("data:", "#"))]


def runs(html: str) -> list[str]:
    """Scripts and inline event handlers a browser would run, the page's own script left out."""
    elements = Elements(html)
    kinds = [attributes.get("type") for attributes in elements.named("script")]
    own = elements.texts["script"][-1:]
    scripts = [t for t, kind in zip(elements.texts["script"], kinds, strict=True) if kind != "application/json"]
    handlers = [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    return [script for script in scripts if script not in own] + handlers
