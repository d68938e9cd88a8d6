"""Makes the utterances of a tier ready for training: archives, tokenizer, indexes, manifest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

from tqdm import tqdm

from algoperf_ref.data.files import atomic_directory, atomic_file
from algoperf_ref.data.librispeech import archives, manifest, mini, scan, trees
from algoperf_ref.data.librispeech import index as indexes
from algoperf_ref.data.librispeech import tokenizer as tokenizers
from algoperf_ref.data.librispeech.audio import soundfile
from algoperf_ref.data.librispeech.index import PartIndex
from algoperf_ref.data.librispeech.layout import (
    NUM_UTTERANCES,
    SPLIT_PARTS,
    TOKENIZER,
    TOKENIZER_PART,
    TREE,
    Layout,
    find_official,
    find_tree,
)
from algoperf_ref.data.librispeech.packed import is_complete as is_packed
from algoperf_ref.data.librispeech.speaking import Speaker, check_installed
from algoperf_ref.data.librispeech.stores import LIMIT
from algoperf_ref.data.librispeech.tokenizer import ASKED_PIECES, Tokenizer, check_pieces
from algoperf_ref.errors import MissingDataError, UserError
from spec import workloads

Say = Callable[[str], object]

_NAMED = 3  # of what is odd, as many are named


def expected_counts(tier: str) -> dict[str, int]:
    """Utterances of every split."""
    if tier == "mini":
        return {
            split: sum(mini.COUNTS[part] for part in parts)
            for split, parts in SPLIT_PARTS["mini"].items()
        }
    row = workloads.get("librispeech_conformer")
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
    processes: int | None = None,
    expected: Mapping[str, int] | None = None,
    say: Say = print,
) -> Path:
    """Prepares a tier, or finishes an interrupted preparation.

    Args:
      data_dir: where the data go; see `algoperf_ref.data.librispeech.layout`.
      tier: "full" or "mini".
      source: for the full tier, the folder with the downloaded archives, with the unpacked parts,
        or with the official preparation; None looks where they will lie.
      processes: threads that decode audio; None: one per core.
      expected: full tier, utterances of every split; mini tier, of every part; None: those of the
        data set.
      say: called with a line of text at every stage.

    Returns:
      The directory of the tier.

    Raises:
      UserError: if something is missing or not as it should be.
    """
    layout = Layout.of(data_dir, tier)
    workers = processes or os.cpu_count() or 1
    mini_counts = dict(mini.COUNTS if expected is None else expected)
    if layout.tier == "full":
        counts = expected_counts("full") if expected is None else dict(expected)
    else:
        counts = {
            split: sum(mini_counts[part] for part in parts)
            for split, parts in SPLIT_PARTS["mini"].items()
        }
    made_from = mini.made_from(mini_counts) if layout.tier == "mini" else manifest.OFFICIAL
    if manifest.is_complete(layout, counts, made_from):
        say(f"{layout.root}: already prepared")
        return layout.root
    # Before minutes of work, not after them.
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {layout.root} ({error.strerror}): give another --data_dir"
        ) from error
    content = None
    if layout.tier == "mini":
        if source is not None:
            raise UserError("--source belongs to the full tier; the mini tier makes its own data")
        content = _speak(layout, mini_counts, say)
    else:
        _gather(layout, source, say)
    tokenizer = _tokenizer(layout, source, say)
    found = {part: _index(layout, part, tokenizer, workers, say) for part in layout.parts}
    _check_counts(layout, found, counts)
    manifest.write(layout, tokenizer, made_from, content)
    say(f"{layout.root}: ready")
    return layout.root


def _speak(layout: Layout, counts: Mapping[str, int], say: Say) -> str:
    """Makes the utterances of the mini tier; returns the checksum of their content."""
    check_installed()
    soundfile()
    say("synthesising speech with espeak-ng, in a process of its own")
    with (
        atomic_directory(layout.root) as partial,
        Speaker() as speaker,
        tqdm(
            total=sum(counts.values()), desc="speak", unit=" utterances", leave=False, disable=None
        ) as bar,
    ):
        content = mini.build(partial / TREE, counts, speaker, progress=bar.update)
    known = mini.KNOWN_SHA256.get(mini.made_from(counts), content)
    if content != known:
        say(
            "the speech is not bit for bit that which the targets were set with (checksum "
            f"{content}, there {known}); it serves as well"
        )
    return content


def _gather(layout: Layout, source: Path | None, say: Say) -> None:
    """Gives every part its place in the tier: from an archive, or by a link."""
    places = [place for place in (source, layout.root, layout.data_dir) if place is not None]
    missing = []
    for part in layout.parts:
        if is_packed(layout.packed(part)):
            continue
        # An unpacked part may be half of one; its index is made when all of it is there.
        is_indexed = layout.index(part, "flac").is_file()
        archive = archives.find(part, places)
        if archive is not None and not is_indexed:
            say(f"unpacking {archive} (repeat to resume)")
            archives.unpack(part, archive, layout.root / TREE / part)
            continue
        is_there = layout.tree(part) is not None or layout.official(part) is not None
        if not is_there and (source is None or not _adopt(layout, part, source, say)):
            missing.append(part)
    if missing:
        wanted = ", ".join(archives.name_of(part) for part in missing)
        raise MissingDataError(
            f"no utterances of {', '.join(missing)}: get {wanted} from {archives.SOURCE} and name "
            "their folder with --source (or name the folder of unpacked parts or of the official "
            "preparation)"
        )


def _adopt(layout: Layout, part: str, source: Path, say: Say) -> bool:
    """Gives what lies elsewhere its place in the tier by a link."""
    places = [source, source / layout.dataset]
    found, target = find_tree(part, places), layout.root / TREE / part
    if found is None:
        found, target = find_official(part, places), layout.root / part
        if found is None:
            return False
        shutil.copyfile(found.with_name(f"{part}.csv"), layout.root / f"{part}.csv")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(found.resolve(), target_is_directory=True)
    except OSError as error:
        raise UserError(
            f"cannot link {target} to {found} ({error.strerror}); move the folder there"
        ) from error
    say(f"linked {target} to {found}")
    return True


def _tokenizer(layout: Layout, source: Path | None, say: Say) -> Tokenizer:
    """The tokenizer that is there or that the source has, else a new one; never overwrites one."""
    path = layout.tokenizer
    places = [] if source is None else [source / TOKENIZER, source / layout.dataset / TOKENIZER]
    for other in places:
        if other.is_file() and not path.exists():
            check_pieces(Tokenizer(other), layout.tier)
            with atomic_file(path) as file:
                file.write(other.read_bytes())
    if not path.exists():
        folder = layout.tree(TOKENIZER_PART)
        if folder is None:
            raise MissingDataError(
                f"{path}, the tokenizer that the pieces were made with, is missing: put it there"
            )
        say(f"training a tokenizer on the transcripts of {TOKENIZER_PART}")
        tokenizers.train(
            (utterance.text for utterance in trees.read(folder).utterances),
            path,
            pieces=ASKED_PIECES[layout.tier],
            hard_limit=layout.tier == "full",
        )
    tokenizer = Tokenizer(path)
    check_pieces(tokenizer, layout.tier)
    return tokenizer


def _index(layout: Layout, part: str, tokenizer: Tokenizer, workers: int, say: Say) -> PartIndex:
    """The index of a part, made anew unless it is that of these files and this tokenizer."""
    if is_packed(layout.packed(part)):
        stored = indexes.read(layout.packed(part) / "index.npz")
        if stored is None:
            raise UserError(f"{layout.packed(part)} is damaged: delete it")
        return stored[0]
    folder = layout.tree(part)
    form = "npy" if folder is None else "flac"
    tree = trees.Tree() if folder is None else trees.read(folder)
    official = layout.official(part) if folder is None else None
    names = [] if official is None else scan.official_names(official)
    total = len(names) + len(tree.utterances)
    stored = indexes.read(layout.index(part, form))
    if stored is not None:
        index, numbers = stored
        is_same = index.tokenizer == tokenizer.digest and not index.left_out.unusable
        is_same = is_same and index.left_out.found == total + len(tree.unusable)
        if is_same and numbers.get(LIMIT) == layout.max_audio_length:
            return index
    with tqdm(
        total=total, desc=f"read {part}", unit=" utterances", leave=False, disable=None
    ) as bar:
        if official is None:
            index = scan.index_tree(
                tree,
                tokenizer,
                max_audio_length=layout.max_audio_length,
                workers=workers,
                progress=bar.update,
            )
        else:
            index = scan.index_official(
                official,
                tokenizer,
                max_audio_length=layout.max_audio_length,
                workers=workers,
                progress=bar.update,
            )
    indexes.write(layout.index(part, form), index, **{LIMIT: layout.max_audio_length})
    _report(part, index, say)
    return index


def _report(part: str, index: PartIndex, say: Say) -> None:
    left_out = index.left_out
    say(
        f"{part}: {len(index):,} of {left_out.found:,} utterances; left out for too many samples "
        f"{left_out.long_audio:,}, for too many characters {left_out.long_transcripts:,}"
    )
    if left_out.unusable:
        say(f"{part}: {len(left_out.unusable):,} problems")
        for problem in left_out.unusable[:_NAMED]:
            say(f"  {problem}")
    if left_out.unknown:
        characters = "".join(sorted(set("".join(left_out.unknown.values()))))
        say(
            f"{part}: {len(left_out.unknown):,} utterances have characters that the tokenizer does "
            f"not know ({characters}), for example {', '.join(list(left_out.unknown)[:_NAMED])}; "
            "they stay, with an unknown piece"
        )


def _check_counts(
    layout: Layout, found: Mapping[str, PartIndex], counts: Mapping[str, int]
) -> None:
    for split, expected in counts.items():
        parts = layout.of_split(split)
        usable = sum(len(found[part]) for part in parts)
        if usable == expected:
            continue
        problems = [problem for part in parts for problem in found[part].left_out.unusable]
        sizes = ", ".join(
            f"{part} {found[part].left_out.found:,} of {NUM_UTTERANCES[part]:,}" for part in parts
        )
        mend = f"complete the parts ({sizes})"
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            mend = f"{problems[0]}{more}; get it again"
        raise UserError(
            f"{layout.root} has {usable:,} usable {split} utterances, the data set has "
            f"{expected:,}: {mend} and repeat the command"
        )
