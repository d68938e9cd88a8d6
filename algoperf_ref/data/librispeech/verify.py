"""Checks prepared utterances, and lists what is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from os import PathLike

from algoperf_ref.data.batches import in_order
from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.files import read_json
from algoperf_ref.data.librispeech import mini
from algoperf_ref.data.librispeech.audio import UnusableAudio
from algoperf_ref.data.librispeech.layout import (
    DATASET,
    MAX_TARGET_LENGTH,
    SPLITS,
    TREE,
    Layout,
)
from algoperf_ref.data.librispeech.prepare import expected_counts
from algoperf_ref.data.librispeech.stores import Store, find_store
from algoperf_ref.data.librispeech.tokenizer import Tokenizer, check_pieces, problem_of
from algoperf_ref.errors import UserError

_AHEAD = 64


def verify(
    data_dir: str | PathLike[str], tier: str, *, expected: Mapping[str, int] | None = None
) -> list[str]:
    """Reads every utterance: counts, lengths, audio, pieces, tokenizer, checksum.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: "full" or "mini".
      expected: utterances of every split; None: those of the data set.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: nothing of the tier is there.
      UserError: a part is damaged, or a package is missing.
    """
    layout = Layout.of(data_dir, tier)
    counts = expected_counts(layout.tier) if expected is None else expected
    stores = {part: find_store(layout, part) for part in layout.parts}
    if not any(stores.values()):
        raise layout.missing(layout.parts)
    problems = []
    tokenizer = None
    try:
        tokenizer = Tokenizer(layout.tokenizer)
        check_pieces(tokenizer, layout.tier)
    except UserError as error:
        problems.append(str(error))
    for split in SPLITS:
        problems.extend(_split_problems(layout, split, stores, counts[split]))
    for store in stores.values():
        if store is not None:
            problems.extend(store.index.left_out.unusable)
            if tokenizer is not None:
                problems.extend(_target_problems(layout, store, tokenizer))
            problems.extend(_audio_problems(store))
    problems.extend(_manifest_problems(layout, broken=bool(problems)))
    return problems


def _split_problems(
    layout: Layout, split: str, stores: Mapping[str, Store | None], expected: int
) -> Iterator[str]:
    found = 0
    for part in layout.of_split(split):
        store = stores[part]
        if store is None:
            yield str(layout.missing([part]))
        else:
            found += len(store.index)
    if found != expected:
        yield f"{layout.root}: {found:,} usable {split} utterances, expected {expected:,}"


def _target_problems(layout: Layout, store: Store, tokenizer: Tokenizer) -> Iterator[str]:
    if store.index.tokenizer != tokenizer.digest:
        yield (
            f"{store.place}: the pieces were made with another tokenizer than {tokenizer.path}; "
            f"run: {layout.prepare_command()}"
        )
        return
    room = MAX_TARGET_LENGTH[layout.tier]
    for number in range(len(store.index)):
        target = store.index.target(number)
        if len(target) > room:
            yield f"{store.describe(number)} has {len(target)} pieces, more than {room}"
        elif problem := problem_of(target, tokenizer):
            yield f"{store.describe(number)}: its target {problem}"


def _audio_problems(store: Store) -> Iterator[str]:
    from tqdm import tqdm

    def problem(number: int) -> str | None:
        try:
            store.read(number)
        except UnusableAudio as error:
            return str(error)
        return None

    numbers = tqdm(
        range(len(store.index)),
        f"read {store.place.name}",
        unit=" utterances",
        leave=False,
        disable=None,
    )
    for found in in_order(problem, numbers, os.cpu_count() or 1, _AHEAD):
        if found is not None:
            yield found


def _manifest_problems(layout: Layout, broken: bool) -> Iterator[str]:
    manifest = read_json(layout.manifest)
    if not isinstance(manifest, dict):
        yield f"{layout.manifest} is missing; run: {layout.prepare_command()}"
    elif "sha256" in manifest and not broken and (layout.root / TREE).is_dir():
        content = mini.digest(layout.root / TREE, layout.parts)
        if content != manifest["sha256"]:
            yield (
                f"{layout.root}: the checksum is {content}, expected {manifest['sha256']}; delete "
                f"{layout.manifest} and run: {layout.prepare_command()}"
            )


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """The tiers that are there, complete or not; from the manifest, no audio is looked for."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        manifest = read_json(layout.manifest)
        known = manifest if isinstance(manifest, dict) else {}
        if not known and not any(_is_there(layout, part) for part in layout.parts):
            continue
        found.append(
            Listing(
                dataset=DATASET,
                tier=tier,
                place=str(layout.root),
                state="prepared" if known else "not finished, run prepare",
                examples=known.get("utterances", {}),
                bytes=known.get("bytes", 0),
            )
        )
    return found


def _is_there(layout: Layout, part: str) -> bool:
    return layout.tree(part) is not None or layout.official(part) is not None
