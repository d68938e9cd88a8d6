"""The mini tier's speech: grammar, voices, re-drawing, resampling, and the process that speaks."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from algoperf_ref.data.librispeech import mini, prepare, speaking, trees, verify
from algoperf_ref.data.librispeech.audio import read_flac
from algoperf_ref.data.librispeech.layout import SPLIT_PARTS, TREE
from algoperf_ref.data.librispeech.speaking import Speaker, resample
from algoperf_ref.data.librispeech.split import open_split
from algoperf_ref.errors import UserError
from conformance_tests.support import utterances
from spec import tiers

COUNTS = {"train-clean-100": 40, "dev-clean": 4, "dev-other": 4, "test-clean": 6}
BY_SPLIT = {"train": 40, "validation": 8, "test": 6}


def _is_installed() -> bool:
    try:
        return importlib.metadata.version(speaking.PACKAGE) == speaking.VERSION
    except importlib.metadata.PackageNotFoundError:
        return False


needs_library = pytest.mark.skipif(not _is_installed(), reason="the speech library is missing")


class Tones:
    """Speaks in tones; five words are longer than 1.6 seconds."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int, int]] = []

    def say(self, text: str, voice: str, rate: int, pitch: int) -> NDArray[np.int16]:
        self.asked.append((text, voice, rate, pitch))
        return utterances.sound(text, 5_500)


# The recipe.


def test_sentences_are_those_of_the_grammar() -> None:
    """25 words, and before long ones are drawn again 3.5 of them. Source: mini_tier, 3."""
    random = np.random.RandomState(0)
    texts = [mini.sentence(random).split() for _ in range(3_000)]
    assert len({word for text in texts for word in text}) == 25
    assert 3.45 <= np.mean([len(text) for text in texts]) <= 3.55
    kinds = Counter(
        "digits"
        if set(text) <= set(mini.DIGITS)
        else "order"
        if text[0] in mini.VERBS
        else "coloured"
        for text in texts
    )
    assert min(kinds.values()) > 900
    for text in texts:
        if text[0] in mini.VERBS:
            assert text[1] in mini.PLACES
            assert text[2] in mini.DIGITS
            assert len(text) == 3
        elif text[0] in mini.COLOURS:
            assert [text[1] in mini.DIGITS, text[2] in mini.VERBS] == [True, True]
            assert text[3] in mini.PLACES
            assert len(text) == 4
        else:
            assert 2 <= len(text) <= 5


def test_voices_of_training_are_not_those_of_the_other_splits() -> None:
    assert len(mini.VARIANTS) == 15
    assert set(mini.HELD_OUT) == {"f4", "m6", "Linda", "Alex"}
    assert not set(mini.VARIANTS) & set(mini.HELD_OUT)
    heard: dict[str, set[str]] = {}
    names: list[str] = []
    for part in mini.COUNTS:
        speaker = Tones()
        names += [one.name for one in mini.utterances(part, 90, speaker)]
        heard[part] = {voice.split("+")[1] for _, voice, _, _ in speaker.asked}
        assert {voice.split("+")[0] for _, voice, _, _ in speaker.asked} == set(mini.ACCENTS)
        assert {140 <= rate < 210 for _, _, rate, _ in speaker.asked} == {True}
        assert {35 <= pitch < 65 for _, _, _, pitch in speaker.asked} == {True}
    assert heard["train-clean-100"] == set(mini.VARIANTS)
    for part in ("dev-clean", "dev-other", "test-clean"):
        assert heard[part] == set(mini.HELD_OUT)
    assert len(set(names)) == len(names) == 360


def test_what_is_too_long_is_drawn_again() -> None:
    speaker = Tones()
    made = list(mini.utterances("train-clean-100", 60, speaker))
    assert len(made) == 60
    assert len(speaker.asked) > 60
    assert max(len(one.samples) for one in made) <= 25_600
    assert all(len(one.text.split()) < 5 for one in made)  # five words are longer
    kept = [text for text, *_ in speaker.asked if len(text.split()) < 5]
    assert [one.text for one in made] == [text.upper() for text in kept]


def test_volume_and_noise_vary() -> None:
    loud = np.full(4_000, 10_000, np.int16)
    random = np.random.RandomState(0)
    made = [mini._recorded(loud, random) for _ in range(50)]
    gains = [one.mean() / 10_000 for one in made]
    noises = [one.std() for one in made]
    assert 0.29 < min(gains) < 0.4
    assert 0.9 < max(gains) < 1.01
    assert 4 < min(noises) < 12
    assert 50 < max(noises) < 63
    clipped = mini._recorded(np.full(2_000, 2**15 - 1, np.int16), random)
    assert clipped.dtype == np.int16


def test_counts_are_those_of_the_tier() -> None:
    assert sum(mini.COUNTS.values()) == 2_600
    by_split = prepare.expected_counts("mini")
    assert by_split == {"train": 2_000, "validation": 300, "test": 300}
    assert [part for parts in SPLIT_PARTS["mini"].values() for part in parts] == list(mini.COUNTS)
    if "librispeech_conformer" in tiers.names("mini"):
        row = tiers.get("librispeech_conformer", "mini")
        assert by_split == {
            "train": row.num_train_examples,
            "validation": row.num_validation_examples,
            "test": row.num_test_examples,
        }


# Resampling.


@pytest.mark.parametrize(("hertz", "tolerance"), [(100, 8), (1_000, 8), (5_000, 20), (7_000, 90)])
def test_tones_keep_their_height_and_volume(hertz: int, tolerance: int) -> None:
    time = np.arange(22_050) / 22_050
    tone = np.rint(10_000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
    made = resample(tone, 22_050)
    assert made.shape == (16_000,)
    assert made.dtype == np.int16
    exact = 10_000 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)
    inner = slice(200, -200)
    np.testing.assert_allclose(made[inner], exact[inner], atol=tolerance)


def test_what_16_kilohertz_cannot_hold_is_gone() -> None:
    time = np.arange(22_050) / 22_050
    tone = np.rint(10_000 * np.sin(2 * np.pi * 9_500 * time)).astype(np.int16)
    assert np.abs(resample(tone, 22_050)[200:-200]).max() < 30


def test_resampling_keeps_constants_and_short_inputs() -> None:
    loud = resample(np.full(3_000, 2**15 - 1, np.int16), 22_050)
    assert (loud[100:-100] >= 2**15 - 25).all()
    assert resample(np.zeros(0, np.int16), 22_050).shape == (0,)
    assert resample(np.ones(1, np.int16), 22_050).shape == (0,)
    samples = utterances.sound("GO HOME")
    np.testing.assert_allclose(resample(samples, 16_000)[50:-50], samples[50:-50], atol=600)


def test_filters_are_the_same_whole_numbers_everywhere() -> None:
    filters = speaking._filters(320, 441)
    assert filters.shape == (320, 64)
    assert np.abs(filters.sum(axis=1) - (1 << 15)).max() <= 20
    digest = hashlib.sha256(filters.astype("<i8").tobytes()).hexdigest()
    assert digest == FILTERS_SHA256


FILTERS_SHA256 = "957c1ffa0f33add59dd0287a8b21128a3aa85a84ce9ef68e39bbadea984cd9bf"


# The process.


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    with Speaker() as speaker:
        yield speaker


@needs_library
def test_all_voices_speak(speaker: Speaker) -> None:
    said = {
        f"{accent}+{variant}": speaker.say("one two three", f"{accent}+{variant}", 170, 50)
        for accent in mini.ACCENTS
        for variant in (*mini.VARIANTS, *mini.HELD_OUT)
    }
    assert len({samples.tobytes() for samples in said.values()}) == 3 * 19
    for samples in said.values():
        assert 0.5 < len(samples) / 16_000 < 2.0
        assert np.abs(samples.astype(np.int32)).max() > 1_000
    quick, slow = (speaker.say("one two", "en-us+m1", rate, 50) for rate in (210, 140))
    assert len(quick) < len(slow)


@needs_library
def test_the_library_is_loaded_by_a_process_of_its_own() -> None:
    """It is under the GPL, and this package is not."""
    program = (
        "import sys\n"
        "from algoperf_ref.data.librispeech import commands, mini\n"
        "from algoperf_ref.data.librispeech.speaking import Speaker\n"
        "with Speaker() as speaker:\n"
        "    speaker.say('one', 'en-us+m1', 170, 50)\n"
        "    print('espeakng_loader' in sys.modules)\n"
        "    print('espeak' in open('/proc/self/maps').read())\n"
    )
    if not Path("/proc/self/maps").exists():
        pytest.skip("no list of loaded libraries on this system")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


@needs_library
def test_a_voice_that_there_is_not_is_one_sentence() -> None:
    with (
        pytest.raises(UserError, match=r"\(the speech library has no voice xx\+m1\)"),
        Speaker() as speaker,
    ):
        speaker.say("one", "xx+m1", 170, 50)


@needs_library
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('no such library')", r"does not run here \(no such library\)"),
        ("import os; os._exit(1)", r"does not run here \(no word\)"),
    ],
)
def test_a_library_that_does_not_start_is_one_sentence(program: str, message: str) -> None:
    with pytest.raises(UserError, match=message + ".*pip install --force-reinstall espeakng"):
        Speaker((sys.executable, "-c", program))


@needs_library
def test_the_process_ends_with_its_user() -> None:
    with Speaker() as speaker:
        process = speaker._process
        assert process.poll() is None
    assert process.poll() is not None
    with pytest.raises((UserError, ValueError)):
        speaker.say("one", "en-us+m1", 170, 50)


@pytest.mark.parametrize("found", [None, "0.1.0"])
def test_a_missing_library_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    def version(name: str) -> str:
        assert name == "espeakng-loader"
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(speaking.importlib.metadata, "version", version)
    state = "is not installed" if found is None else r"is installed as 0\.1\.0"
    with pytest.raises(UserError, match=rf"{state}: pip install espeakng-loader==0\.2\.4$"):
        prepare.prepare(tmp_path, "mini", say=lambda _: None)
    assert not (tmp_path / "mini" / "librispeech" / TREE).exists()


# The whole.


def _prepare(data_dir: Path) -> list[str]:
    said: list[str] = []
    prepare.prepare(data_dir, "mini", expected=COUNTS, say=said.append)
    return said


@needs_library
def test_the_mini_tier_is_prepared_in_the_form_of_librispeech(tmp_path: Path) -> None:
    root = tmp_path / "first" / "mini" / "librispeech"
    assert _prepare(tmp_path / "first")[-1] == f"{root}: ready"
    assert _prepare(tmp_path / "first") == [f"{root}: already prepared"]
    assert verify.verify(tmp_path / "first", "mini", expected=BY_SPLIT) == []
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["utterances"] == BY_SPLIT
    assert "No person speaks" in manifest["description"]
    assert manifest["made_from"].startswith("mini speech, recipe 1, espeakng-loader 0.2.4")

    # Another time, with another process: the same bytes.
    _prepare(tmp_path / "second")
    again = json.loads((tmp_path / "second" / "mini" / "librispeech" / "manifest.json").read_text())
    assert again == manifest

    split = open_split(tmp_path / "first", "mini", "train", expected_examples=40)
    numbers = np.arange(40)
    batch = split.make()(numbers, numbers)
    seconds = (1 - batch["input_paddings"]).sum() / 16_000
    assert 0.7 < seconds / 40 < 1.4
    lengths = (1 - batch["target_paddings"]).sum(1)
    texts = split.tokenizer.decode(batch["targets"], lengths)
    said = {one.text for one in trees.read(root / TREE / "train-clean-100").utterances}
    assert set(texts) == said
    assert len(split.tokenizer) <= 64

    victim = next((root / TREE / "dev-clean").rglob("*.flac"))
    mini.write_flac(victim, np.zeros(len(read_flac(victim)), np.int16))
    (problem,) = verify.verify(tmp_path / "first", "mini", expected=BY_SPLIT)
    assert "the checksum is" in problem


@needs_library
def test_speech_that_differs_from_the_known_one_is_said_and_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini, "KNOWN_SHA256", {mini.made_from(COUNTS): "another"})
    said = _prepare(tmp_path)
    assert sum("not bit for bit" in line and "there another" in line for line in said) == 1
    assert said[-1].endswith("ready")


def test_a_source_for_the_mini_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--source belongs to the full tier"):
        prepare.prepare(tmp_path, "mini", source=tmp_path, say=lambda _: None)


@pytest.mark.slow
@needs_library
def test_the_whole_mini_tier(tmp_path: Path) -> None:
    """Workload facts (mini_tier), 3: 51 pieces, about a second each, at most 13 pieces."""
    prepare.prepare(tmp_path, "mini", say=lambda _: None)
    assert verify.verify(tmp_path, "mini") == []
    manifest = json.loads((tmp_path / "mini" / "librispeech" / "manifest.json").read_text())
    assert manifest["utterances"] == {"train": 2_000, "validation": 300, "test": 300}
    assert manifest["tokenizer"]["pieces"] == 51
    assert manifest["longest_target"] <= 16
    assert 2_000 < manifest["seconds"]["train"] < 2_150
    split = open_split(tmp_path, "mini", "validation")
    # The recogniser has a frame for every 640 samples, and must not have fewer than pieces.
    for store in split.stores:
        assert (store.index.samples / 640 >= store.index.lengths + 6).all()
