"""Makes the sentence pairs of a tier ready for training: tokenizer, tokens, manifest."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from algoperf_ref.data import packages, tfds_store, tfrecord
from algoperf_ref.data.files import read_json, write_json
from algoperf_ref.data.wmt import mini, store
from algoperf_ref.data.wmt.layout import DATASET, MAX_LENGTH, SPLITS, TFDS, VOCABULARY, Layout
from algoperf_ref.data.wmt.pairs import PairSource, find
from algoperf_ref.data.wmt.tokenizer import Tokenizer, train, training_lines
from algoperf_ref.errors import MissingDataError, UserError
from spec import workloads

Say = Callable[[str], object]

_PACKAGES = ("numpy", "sentencepiece", "tensorflow-datasets")
_FULL_DESCRIPTION = "WMT German-English: train of WMT17, newstest2013 and newstest2014 of WMT14."
_FULL_LICENCE = "Of the corpora that WMT collects; see statmt.org/wmt17."


def expected_pairs(tier: str) -> dict[str, int]:
    """Pairs of every split, before long ones are left out."""
    if tier == "mini":
        return {"train": 6_453, "validation": mini.HELD_OUT, "test": mini.HELD_OUT}
    row = workloads.get(DATASET)
    return {
        "train": row.num_train_examples,
        "validation": row.num_validation_examples,
        "test": row.num_test_examples,
    }


def prepare(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    source: Path | None = None,
    expected: Mapping[str, int] | None = None,
    vocabulary: int | None = None,
    processes: int | None = None,
    say: Say = print,
) -> Path:
    """Prepares a tier, or finishes an interrupted preparation.

    Args:
      data_dir: where the data goes; see :mod:`algoperf_ref.data.wmt.layout`.
      tier: "full" or "mini".
      source: for the full tier, the folder with the tfds preparations or with parallel text, and
        perhaps with a tokenizer; None looks where the data go.
      expected: pairs of every split; None: those of the data set.
      vocabulary: pieces of the tokenizer; None: those of the tier.
      processes: threads that tokenise; None: one per core.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    pairs = dict(expected_pairs(layout.tier) if expected is None else expected)
    pieces = vocabulary or VOCABULARY[layout.tier]
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {layout.root} ({error.strerror}): give another --data_dir"
        ) from error
    if layout.tier == "mini":
        if source is not None:
            raise UserError("--source belongs to the full tier; the mini tier makes its own data")
        _write_mini_text(layout, pairs, say)
    place = layout.root if source is None else source
    found = find(place)
    if found is None:
        raise MissingDataError(
            f"no sentence pairs in {place}: put the tfds preparations ({TFDS['train']} and "
            f"{TFDS['test']}) or train.de, train.en, validation.de and so on there, or name their "
            "folder with --source"
        )
    tokenizer = _tokenizer(layout, place, found, pieces, say)
    _write_tokens(layout, found, tokenizer, pairs, pieces, processes or os.cpu_count() or 1, say)
    _write_manifest(layout, found)
    say(f"{layout.root}: ready")
    return layout.root


def convert(
    data_dir: str | PathLike[str],
    *,
    tier: str = "full",
    source: Path | None,
    say: Say = print,
) -> Path:
    """Converts tfds preparations in tfrecord format to array_record, and nothing else.

    Returns:
      The directory of the tier, where the converted preparations lie.

    Raises:
      UserError: there are none at `source`, or they are damaged.
    """
    if tier != "full" or source is None:
        raise UserError(
            "only the full tier of wmt is converted, from tfds preparations in tfrecord format: "
            "name their folder with --source"
        )
    layout = Layout.of(data_dir, "full")
    for version in sorted(set(TFDS.values())):
        target, old = layout.root / version, source / version
        if tfds_store.file_format(target) == "array_record":
            say(f"{target}: already converted")
            continue
        if tfds_store.file_format(old) != "tfrecord":
            raise MissingDataError(f"no {version} in tfrecord format in {source}")
        if old.resolve() == target.resolve():
            raise UserError(
                f"{old} cannot be converted in place: move it away and name its folder with "
                "--source"
            )
        say(f"converting {old} to array_record in {target}")
        if not tfrecord.convert(old, target, lambda done: None):
            say(
                "note: checksums of the records were not compared, because google-crc32c is not "
                f"installed ({tfds_store.INSTALL_HINT})"
            )
    return layout.root


def _write_mini_text(layout: Layout, pairs: Mapping[str, int], say: Say) -> None:
    if all(layout.text(split, "en").exists() for split in SPLITS) and (
        mini.digest(layout.root) == mini.PINNED_SHA256
    ):
        return
    wheel = packages.fetch(mini.PACKAGE, layout.data_dir / "downloads", say=say)
    say("taking interface texts out of the homeassistant package")
    splits = mini.divided(mini.usable(mini.texts(wheel)))
    found = {split: len(splits[split]) for split in SPLITS}
    if found != dict(pairs):
        raise UserError(f"the recipe made {found} pairs, the tier has {dict(pairs)}")
    mini.write(splits, layout.root)
    if mini.digest(layout.root) != mini.PINNED_SHA256:
        raise UserError(
            f"the texts in {layout.root} have the checksum {mini.digest(layout.root)}, this recipe "
            f"should give {mini.PINNED_SHA256}"
        )


def _tokenizer(layout: Layout, place: Path, found: PairSource, pieces: int, say: Say) -> Tokenizer:
    """Opens the tokenizer of the tier, or that of the source, or trains one."""
    theirs = place / layout.tokenizer.name
    if not layout.tokenizer.exists() and theirs.exists():
        Tokenizer(theirs, pieces)  # is it the right one?
        layout.tokenizer.write_bytes(theirs.read_bytes())
        say(f"took the tokenizer {theirs}")
    if not layout.tokenizer.exists():
        say(f"training a tokenizer of {pieces:,} pieces")
        train(layout.tokenizer, training_lines(found.pairs("train")), pieces)
    return Tokenizer(layout.tokenizer, pieces)


def _write_tokens(
    layout: Layout,
    found: PairSource,
    tokenizer: Tokenizer,
    pairs: Mapping[str, int],
    pieces: int,
    threads: int,
    say: Say,
) -> None:
    from tqdm import tqdm

    max_length = MAX_LENGTH[layout.tier]
    counts = {split: found.count(split) for split in SPLITS}
    if counts != dict(pairs):
        raise UserError(f"{found.name} has {counts} pairs, the {layout.tier} tier {dict(pairs)}")
    for split in SPLITS:
        directory = layout.tokens(split)
        made = (found.name, tokenizer.sha256, max_length, counts[split])
        old = store.read_info(directory)
        if old is not None and made == (old.source, old.tokenizer, old.max_length, old.num_pairs):
            say(f"{directory}: already there")
            continue
        with tqdm(total=counts[split], desc=split, unit=" pairs", leave=False, disable=None) as bar:
            info = store.write(
                directory,
                found.pairs(split),
                tokenizer,
                source=found.name,
                vocabulary=pieces,
                max_length=max_length,
                threads=threads,
                progress=bar.update,
            )
        say(_report(split, info))


def _report(split: str, info: store.StoreInfo) -> str:
    line = f"{split}: {info.num_kept:,} pairs"
    if info.num_too_long:
        line += f", {info.num_too_long:,} longer than {info.max_length} pieces left out"
    if info.num_empty:
        line += f", {info.num_empty:,} with an empty sentence (first: pair {info.first_empty:,})"
    return line


def _write_manifest(layout: Layout, found: PairSource) -> None:
    is_mini = layout.tier == "mini"
    splits: dict[str, Any] = {}
    for split in SPLITS:
        info = store.read_info(layout.tokens(split))
        if info is None:
            raise UserError(f"{layout.tokens(split)} has vanished; run the command again")
        splits[split] = asdict(info)
    write_json(
        layout.manifest,
        {
            "dataset": DATASET,
            "tier": layout.tier,
            "description": mini.DESCRIPTION if is_mini else _FULL_DESCRIPTION,
            "licence": mini.LICENCE if is_mini else _FULL_LICENCE,
            "made_from": f"{mini.PACKAGE.name} {mini.PACKAGE.version}, recipe {mini.RECIPE}"
            if is_mini
            else found.name,
            "packages": {package: _version(package) for package in _PACKAGES},
            "splits": splits,
        },
    )


def prepared(layout: Layout) -> Mapping[str, Any] | None:
    """Returns the manifest of a finished preparation, None if there is none."""
    manifest = read_json(layout.manifest)
    return manifest if isinstance(manifest, dict) and "splits" in manifest else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
