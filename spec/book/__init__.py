"""The rule book as static pages: ``python -m spec book --output DIR``.

The pages are rendered from the clauses, the docstrings, the source and the data of this package;
there is no second text. They need no network and no script to be read; the script on them filters
the list of clauses. The same code gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_command(commands: Any, options: argparse.ArgumentParser) -> None:
    """Adds ``book`` to the command line; the common options do not apply to it."""
    book = commands.add_parser("book", help="write the rule book as web pages")
    book.add_argument("--output", required=True, metavar="DIR", help="directory to write to")
    book.add_argument(
        "--overwrite",
        action="store_true",
        help="write into a directory that holds other files than an earlier book",
    )
    book.set_defaults(run=_book)


def files() -> dict[str, bytes]:
    """Renders the whole book of this code.

    Returns:
      Contents by file name, ``index.html`` first.
    """
    # Not at the top: `python -m spec list` imports this module as well and renders nothing.
    from spec.book import evidence, pages
    from spec.clauses import load_all

    return pages.render(load_all(), evidence.gather())


def _book(arguments: argparse.Namespace) -> str:
    from spec.book.publish import publish

    directory = Path(arguments.output)
    rendered = files()
    publish(rendered, directory, overwrite=arguments.overwrite)
    pages = sum(name.endswith(".html") for name in rendered)
    size = sum(len(content) for content in rendered.values())
    return f"wrote {pages} pages, {size / 1e6:.1f} MB; open {directory / 'index.html'}"
