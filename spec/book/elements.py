"""HTML and SVG from nested calls; everything that is not marked as HTML is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})


class Html(str):
    """Text that is HTML already, so that it is not escaped again."""

    __slots__ = ()


NOTHING = Html("")


def text(content: str) -> Html:
    """Escapes text, unless it is HTML already."""
    return content if isinstance(content, Html) else Html(html.escape(content))


def join(parts: Iterable[str], between: str = "") -> Html:
    """Joins parts; those that are not HTML are escaped, ``between`` as well."""
    return Html(text(between).join(text(part) for part in parts))


def element(name: str, *children: str, **attributes: str | float | bool | None) -> Html:
    """One element.

    Args:
      name: of the element, such as ``table``.
      children: text and elements inside it.
      attributes: by name, where ``_`` stands for ``-`` and a last ``_`` is dropped
        (``class_``). ``True`` gives an attribute without a value; ``None`` and ``False`` none.

    Returns:
      The element.
    """
    start = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.removesuffix("_").replace("_", "-")
        start.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    if name in _VOID:
        return Html(f"<{' '.join(start)}>")
    return Html(f"<{' '.join(start)}>{join(children)}</{name}>")


def link(address: str, content: str, **attributes: str | None) -> Html:
    """A link inside the book."""
    return element("a", content, href=address, **attributes)


def table(
    head: Iterable[str],
    rows: Iterable[Iterable[str]],
    *,
    label: str,
    class_: str | None = None,
    marked: Iterable[int] = (),
) -> Html:
    """A table whose first column names its rows, in a region that scrolls by itself.

    Args:
      head: titles of the columns.
      rows: cells, the first of each row is its title.
      label: what a screen reader says for the region.
      class_: class of the table.
      marked: numbers of the rows, from 0, that are highlighted.

    Returns:
      The region.
    """
    highlighted = frozenset(marked)
    titles = element("tr", *(element("th", title, scope="col") for title in head))
    body = []
    for number, row in enumerate(rows):
        first, *others = row
        cells = [element("th", first, scope="row"), *(element("td", cell) for cell in others)]
        body.append(element("tr", *cells, class_="differs" if number in highlighted else None))
    content = element(
        "table", element("thead", titles), element("tbody", join(body, "\n")), class_=class_
    )
    # The region takes the focus: a wide table has to be scrolled with the keyboard as well.
    return element("div", content, class_="wide", role="region", aria_label=label, tabindex=0)
