"""Small made-up utterances in the form of LibriSpeech, for tests that need no speech.

Every word has a tone of its own, so a network can learn to tell them apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.librispeech import index, manifest, mini, scan, tokenizer, trees
from algoperf_ref.data.librispeech.audio import SAMPLE_RATE, write_flac
from algoperf_ref.data.librispeech.layout import TOKENIZER_PART, TREE, Layout
from algoperf_ref.data.librispeech.stores import LIMIT
from algoperf_ref.data.librispeech.tokenizer import ASKED_PIECES, Tokenizer

MADE_FROM = "made-up utterances"
_WORD_SAMPLES = 2_400


def sound(text: str, word_samples: int = _WORD_SAMPLES) -> NDArray[np.int16]:
    """A tone for each word of a text.

    Args:
      text: words.
      word_samples: samples of each.

    Returns:
      int16 [samples], 16 kHz; noise for a text without words.
    """
    random = np.random.RandomState(zlib.crc32(text.encode()))
    hertz = [200 + zlib.crc32(word.encode()) % 4_000 for word in text.split()] or [0]
    time = np.arange(word_samples) / SAMPLE_RATE
    tones = np.concatenate([2_000 * np.sin(2 * np.pi * tone * time) for tone in hertz])
    return np.rint(tones + random.normal(0, 20, len(tones))).astype(np.int16)


def write_part(
    folder: Path,
    texts: Sequence[str],
    *,
    word_samples: int = _WORD_SAMPLES,
    first_speaker: int = 100,
) -> list[str]:
    """Writes the utterances of a part, two to a chapter, as they are downloaded.

    Args:
      folder: of the part.
      texts: their transcripts.
      word_samples: samples of each word.
      first_speaker: number of the first speaker; speakers count downwards.

    Returns:
      Their names, in the order of the texts.
    """
    names = []
    for number, text in enumerate(texts):
        speaker, chapter = first_speaker - number // 4, 7 + number // 2 % 2
        name = f"{speaker}-{chapter}-{number % 2:04d}"
        path = trees.path_of(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_flac(path, sound(text, word_samples))
        with path.with_name(f"{speaker}-{chapter}.trans.txt").open("a", encoding="utf-8") as file:
            file.write(f"{name} {text}\n")
        names.append(name)
    return names


def sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of the mini tier's grammar."""
    random = np.random.RandomState(seed)
    return [mini.sentence(random).upper() for _ in range(count)]


def long_sentences(count: int, words: int = 30, seed: int = 0) -> list[str]:
    """Sentences of made-up words, so many that a tokenizer of full size can be trained on them."""
    random = np.random.RandomState(seed)
    syllables = [a + b for a in "BDFGKLMNPRST" for b in "AEIOU"]
    draws = random.randint(len(syllables), size=(count, words, 3))
    return [" ".join("".join(syllables[i] for i in word) for word in line) for line in draws]


def write_tiny_librispeech(
    data_dir: str | PathLike[str],
    *,
    train: int = 16,
    validation: int = 4,
    test: int = 4,
    word_samples: int = 4_800,
) -> Path:
    """Writes a mini tier of made-up utterances, ready for training.

    Args:
      data_dir: directory of all data sets.
      train, validation, test: utterances of the splits, at least one.
      word_samples: samples of each word.

    Returns:
      The directory of the tier.
    """
    layout = Layout.of(data_dir, "mini")
    counts: Mapping[str, int] = {
        "train-clean-100": train,
        "dev-clean": validation // 2,
        "dev-other": validation - validation // 2,
        "test-clean": test,
    }
    for number, (part, count) in enumerate(counts.items()):
        folder = layout.root / TREE / part
        folder.mkdir(parents=True)
        write_part(folder, sentences(count, number), word_samples=word_samples)
    texts = [one.text for one in trees.read(layout.root / TREE / TOKENIZER_PART).utterances]
    # Of few sentences not every letter would be known.
    tokenizer.train(
        texts + sentences(200), layout.tokenizer, pieces=ASKED_PIECES["mini"], hard_limit=False
    )
    model = Tokenizer(layout.tokenizer)
    for part in counts:
        tree = trees.read(layout.root / TREE / part)
        limit = layout.max_audio_length
        found = scan.index_tree(tree, model, max_audio_length=limit, workers=1)
        index.write(layout.index(part, "flac"), found, **{LIMIT: limit})
    manifest.write(layout, model, MADE_FROM, None)
    return layout.root
