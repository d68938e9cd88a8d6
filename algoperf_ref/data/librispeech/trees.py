"""Utterances of a part as it is downloaded: transcripts and FLAC files in folders of chapters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_TRANSCRIPTS = ".trans.txt"
_AUDIO = ".flac"


class Utterance(NamedTuple):
    """One utterance.

    Attributes:
      name: ``<speaker>-<chapter>-<number>``.
      text: its transcript.
      path: of its FLAC file.
    """

    name: str
    text: str
    path: Path


@dataclass
class Tree:
    """What is in the folder of a part.

    Attributes:
      utterances: those with a transcript and a FLAC file, in the order of their names.
      unusable: a sentence for every other.
    """

    utterances: list[Utterance] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)


def path_of(folder: Path, name: str) -> Path:
    """Where the FLAC file of an utterance lies in the folder of its part."""
    speaker, chapter, _ = name.split("-")
    return folder / speaker / chapter / f"{name}{_AUDIO}"


def read(folder: Path) -> Tree:
    """Reads all transcripts of a part and lists its FLAC files; none is opened.

    Args:
      folder: with a folder for each speaker.

    Returns:
      What there is.
    """
    tree = Tree()
    for chapter in sorted(one for one in folder.glob("*/*") if one.is_dir()):
        _read_chapter(chapter, tree)
    tree.utterances.sort(key=lambda utterance: utterance.name)
    return tree


def _read_chapter(chapter: Path, tree: Tree) -> None:
    names = {
        path.stem for path in chapter.iterdir() if path.suffix == _AUDIO and path.name[0] != "."
    }
    transcripts = chapter / f"{chapter.parent.name}-{chapter.name}{_TRANSCRIPTS}"
    texts = _texts(transcripts, tree.unusable) if names or transcripts.exists() else {}
    for name in sorted(names | texts.keys()):
        path = chapter / f"{name}{_AUDIO}"
        if name not in names:
            tree.unusable.append(f"{path} is missing, but has a transcript in {transcripts.name}")
        elif name not in texts:
            tree.unusable.append(f"{path} has no transcript in {transcripts.name}")
        else:
            tree.utterances.append(Utterance(name, texts[name], path))


def _texts(path: Path, unusable: list[str]) -> dict[str, str]:
    """Transcripts by name; what is wrong with the file is said."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        unusable.append(f"{path} is missing")
        return {}
    texts: dict[str, str] = {}
    prefix = path.name.removesuffix(_TRANSCRIPTS) + "-"
    for number, line in enumerate(lines, 1):
        name, _, text = line.decode("utf-8", errors="replace").strip().partition(" ")
        if not name:
            continue
        if "\ufffd" in text or not name.startswith(prefix):
            kind = "is not UTF-8" if "\ufffd" in text else f"does not begin with {prefix}..."
            unusable.append(f"{path}: line {number} {kind}")
        elif name in texts:
            unusable.append(f"{path}: line {number} is a second transcript of {name}")
        else:
            texts[name] = " ".join(text.split())
    return texts
