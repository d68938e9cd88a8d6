"""The mini tier's speech: sentences of a small grammar, synthesised, in the folders of LibriSpeech.

Voices of the validation and test utterances do not occur in training; sentences may. So it tests
whether other voices are understood.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from algoperf_ref.data.librispeech.audio import Samples, read_flac, write_flac
from algoperf_ref.data.librispeech.layout import DATASET, MAX_AUDIO_LENGTH, SPLIT_PARTS
from algoperf_ref.data.librispeech.speaking import PACKAGE, VERSION
from algoperf_ref.data.librispeech.trees import path_of, read

# Version of this recipe: another one makes other data.
RECIPE = 1

COUNTS: Mapping[str, int] = {
    "train-clean-100": 2_000,
    "dev-clean": 150,
    "dev-other": 150,
    "test-clean": 300,
}
"""Utterances of every part. Source: Workload facts, mini_tier, 3."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "green", "blue", "white", "black")
PLACES = ("north", "south", "east", "west", "home")
VERBS = ("move", "turn", "go", "look", "stay")

ACCENTS = ("en-us", "en-gb-scotland", "en-gb-x-rp")
HELD_OUT = ("f4", "m6", "Linda", "Alex")
"""Variants of voices that are heard in validation and test only."""
VARIANTS = (
    *("f1", "f2", "f3", "f5", "m1", "m2", "m3", "m4", "m5", "m7", "m8"),
    *("Andy", "Annie", "Gene", "Denis"),
)
"""Variants of voices that are heard in training."""

# Ranges that are drawn from: words a minute, pitch, gain, standard deviation of the noise.
_RATES, _PITCHES, _GAINS, _NOISES = (140, 210), (35, 65), (0.3, 1.0), (5.0, 60.0)
_FIRST_SPEAKER = 100

DESCRIPTION = (
    "Small set of utterances for trying out training algorithms: 2 to 5 of 25 words, spoken by a "
    "speech synthesizer (espeak-ng) in 19 voices and 3 accents, with noise. No person speaks; four "
    "voices are kept for validation and test. Layout and format are those of LibriSpeech; results "
    "on it say nothing about LibriSpeech."
)
LICENCE = (
    "Made on this machine by espeak-ng (GPL-3.0-or-later), which runs as a process of its own; the "
    "audio is not redistributed."
)

KNOWN_SHA256: Mapping[str, str] = {
    "mini speech, recipe 1, espeakng-loader 0.2.4, utterances: train-clean-100 2000, "
    "dev-clean 150, dev-other 150, test-clean 300": (
        "e9159846ee655b14405a170bea43f9ce240daaec77cbca6db2917d0e92d313b6"
    ),
}
"""What a preparation is made from -> checksum of the content (:func:`digest`) that it had on the
machine where the targets were set. The synthesizer computes in floating point, so that another
machine may differ in single samples, which does no harm."""


class Draw(NamedTuple):
    """What is drawn about an utterance before it is spoken."""

    variant: str
    accent: str
    text: str
    rate: int
    pitch: int


class Utterance(NamedTuple):
    """A finished utterance: its name, its transcript, and its samples, int16 [samples]."""

    name: str
    text: str
    samples: Samples


class Speaking(Protocol):
    """What speaks; see :class:`~algoperf_ref.data.librispeech.speaking.Speaker`."""

    def say(self, text: str, voice: str, rate: int, pitch: int) -> Samples: ...


def made_from(counts: Mapping[str, int]) -> str:
    """A name for what the content is made from."""
    utterances = ", ".join(f"{part} {count}" for part, count in counts.items())
    return f"mini speech, recipe {RECIPE}, {PACKAGE} {VERSION}, utterances: {utterances}"


def sentence(random: np.random.RandomState) -> str:
    """Draws a sentence: digits; verb, place, digit; or colour, digit, verb, place."""

    def one(words: tuple[str, ...]) -> str:
        return words[random.randint(len(words))]

    kind = random.randint(3)
    if kind == 0:
        return " ".join(one(DIGITS) for _ in range(random.randint(2, 6)))
    if kind == 1:
        return " ".join((one(VERBS), one(PLACES), one(DIGITS)))
    return " ".join((one(COLOURS), one(DIGITS), one(VERBS), one(PLACES)))


def draw(random: np.random.RandomState, variants: tuple[str, ...]) -> Draw:
    """Draws an utterance."""
    return Draw(
        variant=variants[random.randint(len(variants))],
        accent=ACCENTS[random.randint(len(ACCENTS))],
        text=sentence(random),
        rate=int(random.randint(*_RATES)),
        pitch=int(random.randint(*_PITCHES)),
    )


def utterances(part: str, count: int, speaker: Speaking) -> Iterator[Utterance]:
    """Makes the utterances of a part: a chapter for each accent, a speaker for each variant.

    Args:
      part: of the data, which seeds what is drawn.
      count: how many.
      speaker: speaks them. What comes out too long is drawn again.

    Yields:
      The utterances.
    """
    random = np.random.RandomState(zlib.crc32(f"{DATASET} mini {RECIPE} {part}".encode()))
    is_training = part in SPLIT_PARTS["mini"]["train"]
    variants = VARIANTS if is_training else HELD_OUT
    chapters = list(COUNTS).index(part) * len(ACCENTS)
    for number in range(count):
        samples, drawn = np.zeros(MAX_AUDIO_LENGTH["mini"] + 1, np.int16), None
        while drawn is None or len(samples) > MAX_AUDIO_LENGTH["mini"]:
            drawn = draw(random, variants)
            voice = f"{drawn.accent}+{drawn.variant}"
            samples = speaker.say(drawn.text, voice, drawn.rate, drawn.pitch)
        person = _FIRST_SPEAKER + (*VARIANTS, *HELD_OUT).index(drawn.variant)
        chapter = chapters + ACCENTS.index(drawn.accent) + 1
        yield Utterance(
            f"{person}-{chapter}-{number:04d}", drawn.text.upper(), _recorded(samples, random)
        )


def _recorded(samples: Samples, random: np.random.RandomState) -> Samples:
    """The samples at another volume and with noise."""
    gain, noise = random.uniform(*_GAINS), random.uniform(*_NOISES)
    exact = samples * gain + random.normal(0.0, noise, len(samples))
    info = np.iinfo(np.int16)
    return np.clip(np.rint(exact), info.min, info.max).astype(np.int16)


def build(
    tree: Path,
    counts: Mapping[str, int],
    speaker: Speaking,
    *,
    progress: Callable[[], object] = lambda: None,
) -> str:
    """Writes all utterances of the mini tier.

    Args:
      tree: directory to make, which gets a folder for each part.
      counts: utterances of every part.
      speaker: speaks them.
      progress: called after every utterance.

    Returns:
      The checksum of the content, see :func:`digest`.
    """
    for part, count in counts.items():
        transcripts: dict[Path, list[str]] = {}
        for name, text, samples in utterances(part, count, speaker):
            path = path_of(tree / part, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_flac(path, samples)
            lines = path.with_name(f"{name.rpartition('-')[0]}.trans.txt")
            transcripts.setdefault(lines, []).append(f"{name} {text}\n")
            progress()
        for path, lines_of_chapter in transcripts.items():
            path.write_text("".join(lines_of_chapter), encoding="utf-8")
    return digest(tree, tuple(counts))


def digest(tree: Path, parts: tuple[str, ...]) -> str:
    """Checksum of the content: names, transcripts and samples, not the bytes of FLAC.

    Args:
      tree: directory of the parts.
      parts: their names.

    Returns:
      SHA-256, hexadecimal.

    Raises:
      UserError: a file cannot be read.
    """
    content = hashlib.sha256()
    for part in parts:
        for name, text, path in read(tree / part).utterances:
            content.update(f"{part} {name} {text}\n".encode())
            content.update(read_flac(path).astype("<i2").tobytes())
    return content.hexdigest()
