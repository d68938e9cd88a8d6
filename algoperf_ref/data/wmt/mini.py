"""The mini tier's sentences: texts of a user interface, in both languages.

The pairs are real: German and English interface texts of the home automation program Home
Assistant, which its package carries. They are short and of one domain. The preparation makes
parallel text of them, which then goes the way of the full tier.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_ref.data.packages import PackageFile
from algoperf_ref.data.wmt.layout import LANGUAGES, SPLITS
from algoperf_ref.data.wmt.pairs import Pair
from algoperf_ref.errors import UserError

RECIPE = 1
PACKAGE = PackageFile(
    "homeassistant",
    "2024.3.3",
    "homeassistant-2024.3.3-py3-none-any.whl",
    "6e1ec2c07441d63fdcfb8acd2c4bbb6f68bc97330855784d3623d10c38fe3577",
)
HELD_OUT = 500
"""Pairs of the validation split, and of the test split."""
DESCRIPTION = (
    "Small set of German-English sentence pairs for trying out training algorithms: interface "
    "texts of Home Assistant, cleaned of markup and placeholders. Results on it say nothing about "
    "WMT."
)
LICENCE = "Apache-2.0 (homeassistant package). Generated on this machine, not redistributed."
PINNED_SHA256: str = "e699e4ea47df515be2e529faed22407a3aa587e7459cd98e49f56efe25a0bb7e"
"""Checksum of the six text files (:func:`digest`)."""

_ENGLISH, _GERMAN = "/translations/en.json", "/translations/de.json"
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_TAG = re.compile(r"<[^>]+>")
_EMPHASIS = re.compile(r"[`*]{1,3}")
_UNWANTED = re.compile(r"[{}%|]|https?:|\\")
_WORDS = (3, 60)
_LENGTH_RATIO = 3


def texts(wheel: Path) -> Iterator[Pair]:
    """Yields the German and English texts of every key that both languages have.

    Raises:
      UserError: the wheel does not hold them.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            for name in sorted(names):
                other = name.removesuffix(_ENGLISH) + _GERMAN
                if not name.endswith(_ENGLISH) or other not in names:
                    continue
                english, german = (dict(_flat(json.loads(archive.read(n)))) for n in (name, other))
                yield from ((german[key], english[key]) for key in english if key in german)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel} does not hold the texts ({error}); delete it") from error


def _flat(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, (*path, key))
    elif isinstance(tree, str):
        yield path, tree


def cleaned(text: str) -> str:
    """Returns a text without markup, on one line."""
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    text = _EMPHASIS.sub("", text).replace("\u00ad", "")
    return " ".join(text.split())


def usable(found: Iterator[Pair]) -> list[Pair]:
    """Returns the pairs that are sentences without placeholders; each English text once."""
    seen: set[str] = set()
    kept: list[Pair] = []
    for pair in found:
        german, english = map(cleaned, pair)
        if not german or german == english or english in seen:
            continue
        if _UNWANTED.search(german + english):
            continue
        if not _WORDS[0] <= len(english.split()) <= _WORDS[1]:
            continue
        if not 1 / _LENGTH_RATIO < len(german) / len(english) < _LENGTH_RATIO:
            continue
        seen.add(english)
        kept.append((german, english))
    return kept


def divided(pairs: list[Pair], held_out: int = HELD_OUT) -> dict[str, list[Pair]]:
    """Draws the splits; the same pairs give the same splits."""
    order = np.random.RandomState(0).permutation(len(pairs))
    drawn = [pairs[number] for number in order]
    return {
        "train": drawn[2 * held_out :],
        "validation": drawn[:held_out],
        "test": drawn[held_out : 2 * held_out],
    }


def write(splits: Mapping[str, list[Pair]], root: Path) -> None:
    """Writes parallel text into an existing directory."""
    for split, pairs in splits.items():
        for place, language in enumerate(LANGUAGES):
            text = "".join(f"{pair[place]}\n" for pair in pairs)
            (root / f"{split}.{language}").write_text(text, encoding="utf-8", newline="\n")


def digest(root: Path) -> str:
    """Checksum of the parallel text in a directory, SHA-256, hexadecimal."""
    content = hashlib.sha256()
    for split in SPLITS:
        for language in LANGUAGES:
            content.update((root / f"{split}.{language}").read_bytes() + b"\0")
    return content.hexdigest()
