"""The manifest of a tier: what was made, from what; the last part of a preparation."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from algoperf_ref.data.files import directory_bytes, read_json, write_json
from algoperf_ref.data.librispeech import mini
from algoperf_ref.data.librispeech.audio import SAMPLE_RATE
from algoperf_ref.data.librispeech.layout import SPLITS, Layout
from algoperf_ref.data.librispeech.speaking import PACKAGE
from algoperf_ref.data.librispeech.stores import Store, open_stores
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import UserError

OFFICIAL = "the official audio and transcripts"
_DESCRIPTION = "LibriSpeech, English audiobooks read by volunteers."
_LICENCE = "CC-BY-4.0 (openslr.org/12)."
_PACKAGES = ("numpy", "sentencepiece", "soundfile", PACKAGE)


def is_complete(layout: Layout, counts: Mapping[str, int], made_from: str) -> bool:
    """Whether a preparation was finished, with this tokenizer and from the same things.

    Args:
      layout: of the tier.
      counts: utterances of every split.
      made_from: name of what the content is made from.
    """
    known = read_json(layout.manifest)
    if not isinstance(known, dict) or known.get("utterances") != dict(counts):
        return False
    if known.get("made_from") != made_from:
        return False
    with contextlib.suppress(UserError):
        tokenizer = Tokenizer(layout.tokenizer)
        if known.get("tokenizer", {}).get("sha256") != tokenizer.digest:
            return False
        stores = _stores(layout, tokenizer)
        return {split: _count(stores[split]) for split in SPLITS} == dict(counts)
    return False


def _stores(layout: Layout, tokenizer: Tokenizer) -> dict[str, list[Store]]:
    return {split: open_stores(layout, layout.of_split(split), tokenizer) for split in SPLITS}


def _count(stores: list[Store]) -> int:
    return sum(len(store.index) for store in stores)


def write(layout: Layout, tokenizer: Tokenizer, made_from: str, sha256: str | None) -> None:
    """Writes manifest.json, after opening every part.

    Args:
      layout: of the tier; its indexes must be there.
      tokenizer: of the tier.
      made_from: a name for what the content was made from.
      sha256: checksum of the content of the mini tier.

    Raises:
      UserError: a part is missing or not as it should be.
    """
    by_split = _stores(layout, tokenizer)
    is_mini = layout.tier == "mini"
    stores = [store for some in by_split.values() for store in some]
    samples = {
        split: sum(int(store.index.samples.sum()) for store in some)
        for split, some in by_split.items()
    }
    places = {store.place.resolve() for store in stores}
    content: dict[str, Any] = {
        "dataset": "LibriSpeech (format)",
        "tier": layout.tier,
        "description": mini.DESCRIPTION if is_mini else _DESCRIPTION,
        "licence": mini.LICENCE if is_mini else _LICENCE,
        "made_from": made_from,
        "packages": {package: _version(package) for package in _PACKAGES},
        "tokenizer": {"pieces": len(tokenizer), "sha256": tokenizer.digest},
        "forms": {store.place.name: store.form for store in stores},
        "utterances": {split: _count(some) for split, some in by_split.items()},
        "seconds": {split: round(count / SAMPLE_RATE, 1) for split, count in samples.items()},
        "longest_target": max(int(store.index.lengths.max(initial=0)) for store in stores),
        "left_out": {store.place.name: _left_out(store) for store in stores},
        "bytes": sum(directory_bytes(place) for place in places),
    }
    if sha256 is not None:
        content["sha256"] = sha256
    write_json(layout.manifest, content)


def _left_out(store: Store) -> dict[str, Any]:
    left_out = store.index.left_out
    return {
        "found": left_out.found,
        "too many characters": left_out.long_transcripts,
        "too many samples": left_out.long_audio,
        "with unknown characters, but kept": sorted(left_out.unknown),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
