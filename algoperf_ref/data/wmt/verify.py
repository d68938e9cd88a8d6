"""Checks of prepared sentence pairs, and what is there."""

from __future__ import annotations

from os import PathLike

from algoperf_ref.data.datasets import TIERS, Listing
from algoperf_ref.data.files import directory_bytes
from algoperf_ref.data.wmt import store
from algoperf_ref.data.wmt.layout import DATASET, MAX_LENGTH, SPLITS, VOCABULARY, Layout
from algoperf_ref.data.wmt.prepare import expected_pairs, prepared
from algoperf_ref.data.wmt.tokenizer import Tokenizer
from algoperf_ref.errors import UserError


def verify(data_dir: str | PathLike[str], tier: str) -> list[str]:
    """Reads everything again.

    Args:
      data_dir: directory of all data sets.
      tier: "full" or "mini".

    Returns:
      One sentence per problem; none if all is well.
    """
    layout = Layout.of(data_dir, tier)
    if prepared(layout) is None:
        return [f"{layout.root} is not prepared; run: {layout.prepare_command()}"]
    try:
        tokenizer = Tokenizer(layout.tokenizer, VOCABULARY[layout.tier])
    except UserError as error:
        return [str(error)]
    problems: list[str] = []
    for split, pairs in expected_pairs(layout.tier).items():
        directory = layout.tokens(split)
        info = store.read_info(directory)
        if info is None:
            problems.append(f"no tokens in {directory}; run: {layout.prepare_command()}")
            continue
        if (info.num_pairs, info.max_length) != (pairs, MAX_LENGTH[layout.tier]):
            problems.append(
                f"{directory} has {info.num_pairs:,} pairs of at most {info.max_length} pieces, "
                f"expected {pairs:,} of at most {MAX_LENGTH[layout.tier]}"
            )
        if info.tokenizer != tokenizer.sha256:
            problems.append(f"{directory} was made with another tokenizer than {layout.tokenizer}")
        if store.digest(directory) != info.sha256:
            problems.append(
                f"{directory} is damaged: its checksum is not that of its preparation; delete it "
                f"and run: {layout.prepare_command()}"
            )
    return problems


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """Returns what is there of both tiers."""
    found = []
    for tier in TIERS:
        layout = Layout.of(data_dir, tier)
        if not layout.root.is_dir():
            continue
        infos = {split: store.read_info(layout.tokens(split)) for split in SPLITS}
        is_ready = prepared(layout) is not None and all(infos.values())
        found.append(
            Listing(
                DATASET,
                tier,
                str(layout.root),
                "prepared" if is_ready else f"unfinished; run: {layout.prepare_command()}",
                {split: info.num_kept for split, info in infos.items() if info is not None},
                directory_bytes(layout.root),
            )
        )
    return found
