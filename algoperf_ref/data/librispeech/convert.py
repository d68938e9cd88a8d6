"""Converting what is readable to packed files of plain samples."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from algoperf_ref.data.librispeech import packed
from algoperf_ref.data.librispeech.layout import Layout
from algoperf_ref.data.librispeech.stores import open_stores
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import UserError

Say = Callable[[str], object]


def convert(
    data_dir: str | PathLike[str],
    *,
    tier: str = "full",
    source: Path | None = None,
    say: Say = print,
) -> Path:
    """Converts a prepared tier to packed files, which are quicker to read; repeat to resume.

    They hold the same samples and pieces, and need nothing else but the tokenizer: what they were
    made from may be deleted afterwards.

    Args:
      data_dir: see :func:`~algoperf_ref.data.librispeech.prepare.prepare`.
      tier: "full" or "mini".
      source: not used: what is to be converted lies in the tier's directory.
      say: called with a line of text at every stage.

    Returns:
      The directory that was made.

    Raises:
      UserError: the tier is not prepared, or damaged.
    """
    from tqdm import tqdm

    layout = Layout.of(data_dir, tier)
    if source is not None:
        raise UserError(
            "librispeech is converted where it is: leave out --source (prepare has one)"
        )
    if not layout.tokenizer.is_file():
        raise layout.missing(layout.parts)
    stores = open_stores(layout, layout.parts, Tokenizer(layout.tokenizer))
    for part, store in zip(layout.parts, stores, strict=True):
        if store.form == "packed":
            say(f"{store.place}: already converted")
            continue
        say(f"packing {len(store.index):,} utterances of {store.place}")
        with tqdm(
            total=len(store.index),
            desc=f"convert {part}",
            unit=" utterances",
            leave=False,
            disable=None,
        ) as bar:
            packed.write(
                store, layout.packed(part), workers=os.cpu_count() or 1, progress=bar.update
            )
    return layout.root / "packed"
