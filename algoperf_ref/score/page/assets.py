"""The style, the script and the frame of the report."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def read(name: str) -> str:
    """The text of a file in the folder ``assets``."""
    folder = resources.files("algoperf_ref.score.page") / "assets"
    return (folder / name).read_text(encoding="utf-8")
