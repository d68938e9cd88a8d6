"""Utterances for every input: paddings, indexes, tokenizer, resampling, evaluation batches."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from algoperf_ref.data.batches import Part, evaluation_batches
from algoperf_ref.data.librispeech import index, tokenizer
from algoperf_ref.data.librispeech.index import LeftOut, PartIndex, of_utterances
from algoperf_ref.data.librispeech.speaking import resample
from algoperf_ref.data.librispeech.split import LibrispeechSplit, nested
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from conformance_tests.support import utterances

_SAMPLES, _PIECES = 30, 6
int16 = st.integers(-(2**15), 2**15 - 1)
targets = st.lists(st.integers(1, 30), min_size=1, max_size=_PIECES)
sounds = st.lists(int16, min_size=1, max_size=_SAMPLES)
splits = st.lists(st.lists(st.tuples(sounds, targets), max_size=4), min_size=1, max_size=3)


class Held:
    """A store whose samples are in memory."""

    form = "held"
    place = Path("held")

    def __init__(self, content: list[tuple[list[int], list[int]]]) -> None:
        self.sounds = [np.array(sound, np.int16) for sound, _ in content]
        self.index = of_utterances(
            [f"1-2-{number:04d}" for number in range(len(content))],
            [len(sound) for sound, _ in content],
            [target for _, target in content],
            "digest",
            LeftOut(),
        )

    def describe(self, number: int) -> str:
        return str(number)

    def read(self, number: int) -> NDArray[np.int16]:
        return self.sounds[number]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "spm_model.vocab"
    tokenizer.train(utterances.sentences(300), path, pieces=64, hard_limit=False)
    return Tokenizer(path)


def _split(parts: list[list[tuple[list[int], list[int]]]], model: Tokenizer) -> LibrispeechSplit:
    return LibrispeechSplit("train", [Held(part) for part in parts], model, _SAMPLES, _PIECES)


@given(parts=splits)
def test_paddings_say_where_the_values_end(
    model: Tokenizer, parts: list[list[tuple[list[int], list[int]]]]
) -> None:
    split = _split(parts, model)
    content = [one for part in parts for one in part]
    assert len(split) == len(content)
    numbers = np.arange(len(content))
    batch = split.make()(numbers, numbers)
    for name, column, length in (("input", 0, _SAMPLES), ("target", 1, _PIECES)):
        values, paddings = batch[f"{name}s"], batch[f"{name}_paddings"]
        assert values.shape == paddings.shape == (len(content), length)
        for row, one in enumerate(content):
            end = len(one[column])
            assert values[row, :end].tolist() == one[column]
            assert not values[row, end:].any()
            assert paddings[row].tolist() == [0] * end + [1] * (length - end)


@pytest.mark.clause("DATA-3")
@pytest.mark.clause("DATA-4")
@given(
    parts=splits.filter(lambda parts: sum(map(len, parts)) > 0),
    rows=st.integers(1, 4),
    processes=st.integers(1, 3),
)
def test_an_evaluation_covers_a_split_once_and_the_rest_is_padding(
    model: Tokenizer,
    parts: list[list[tuple[list[int], list[int]]]],
    rows: int,
    processes: int,
) -> None:
    split = _split(parts, model)
    seen, of_padding = [], 0
    per_process = [
        evaluation_batches(
            range(len(split)),
            split.make(),
            global_batch_size=rows * processes,
            part=Part(process, processes),
            workers=0,
        )
        for process in range(processes)
    ]
    for together in zip(*per_process, strict=True):
        for flat in together:
            batch = nested(flat)
            (audio, paddings), (pieces, piece_paddings) = batch["inputs"], batch["targets"]
            for row, weight in enumerate(batch["weights"].tolist()):
                ends = int((1 - paddings[row]).sum()), int((1 - piece_paddings[row]).sum())
                if weight:
                    seen.append((audio[row, : ends[0]].tolist(), pieces[row, : ends[1]].tolist()))
                else:
                    assert ends == (0, 0)
                    assert not audio[row].any()
                    of_padding += 1
    assert seen == [one for part in parts for one in part]
    assert (len(seen) + of_padding) % (rows * processes) == 0
    assert of_padding < rows * processes


@given(
    content=st.dictionaries(
        st.from_regex(r"[0-9]{1,4}-[0-9]{1,6}-[0-9]{4}", fullmatch=True),
        st.tuples(st.integers(1, 320_000), targets),
        max_size=6,
    ),
    unusable=st.lists(st.text(max_size=20), max_size=3),
    unknown=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    limit=st.integers(0, 2**40),
)
def test_an_index_is_read_as_it_was_written(
    content: dict[str, tuple[int, list[int]]],
    unusable: list[str],
    unknown: dict[str, str],
    limit: int,
) -> None:
    left_out = LeftOut(7, 2, 1, unusable, unknown)
    names = list(content)
    made = of_utterances(
        names,
        [content[name][0] for name in names],
        [content[name][1] for name in names],
        "digest",
        left_out,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index" / "part-flac.npz"
        assert index.read(path) is None
        index.write(path, made, limit=limit)
        found = index.read(path)
        assert found is not None
        read, more = found
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert index.read(path) is None
    assert more == {"limit": limit}
    assert read.names.tolist() == sorted(names)
    assert (read.tokenizer, read.left_out) == ("digest", left_out)
    for number, name in enumerate(read.names.tolist()):
        assert read.samples[number] == content[name][0]
        assert read.target(number).tolist() == content[name][1]


@given(lengths=st.lists(st.integers(0, 3), max_size=4), pieces=st.integers(0, 12))
def test_columns_that_do_not_fit_each_other_are_refused(lengths: list[int], pieces: int) -> None:
    def made() -> PartIndex:
        count = len(lengths)
        return PartIndex(
            names=np.array([str(number) for number in range(count)], np.str_),
            samples=np.ones(count, np.int64),
            lengths=np.array(lengths, np.int64),
            pieces=np.zeros(pieces, np.int32),
            tokenizer="",
            left_out=LeftOut(),
        )

    if sum(lengths) == pieces:
        assert len(made()) == len(lengths)
    else:
        with pytest.raises(ValueError, match="not the sum of the lengths"):
            made()


@given(words=st.lists(st.sampled_from(["GO", "HOME", "ONE", "BLUE", "ZERO"]), max_size=8))
def test_texts_survive_the_tokenizer(model: Tokenizer, words: list[str]) -> None:
    pieces = model.encode(" ".join(words))
    assert pieces[-1] == tokenizer.END
    assert all(tokenizer.END < piece < len(model) for piece in pieces[:-1])
    padded = [*pieces, 0, 0]
    assert model.decode([padded, padded], [len(pieces), len(pieces) - 1]) == [" ".join(words)] * 2


@given(ids=st.lists(st.integers(-5, 200), max_size=10))
def test_whatever_a_model_emits_is_decoded(model: Tokenizer, ids: list[int]) -> None:
    (text,) = model.decode([ids], [len(ids)])
    has_unknown = any(not 0 < one < len(model) for one in ids)
    assert ("\u2047" in text) == has_unknown


@given(samples=st.lists(int16, max_size=400), rate=st.sampled_from([8_000, 16_000, 22_050, 48_000]))
def test_resampling_is_linear_up_to_rounding_and_keeps_the_length(
    samples: list[int], rate: int
) -> None:
    whole = np.array(samples, np.int16)
    half = resample((whole // 2).astype(np.int16), rate).astype(np.int64)
    made = resample(whole, rate).astype(np.int64)
    assert len(made) == len(samples) * 16_000 // rate
    # Where the whole is not clipped. Halves are rounded down, and a filter adds up to twice that.
    free = np.abs(2 * half) < 2**15 - 10
    assert np.abs(made - 2 * half)[free].max(initial=0) <= 6
