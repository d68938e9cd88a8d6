"""Sentence pairs: sources, tokenizer, token store, packing, batches, and bad input."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from algoperf_ref.data import datasets, tfds_store
from algoperf_ref.data.__main__ import main
from algoperf_ref.data.batches import Part
from algoperf_ref.data.wmt import mini, pairs, prepare, split, store, tokenizer, verify
from algoperf_ref.data.wmt.layout import SPLITS, TFDS, Layout
from algoperf_ref.data.wmt.packing import packed_batch, rows_of_groups
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.workloads.samples import golden_arrays, golden_json

GOLDEN = golden_json("pipeline/wmt.json")
PAIRS = list(zip(GOLDEN["src"], GOLDEN["tgt"], strict=True))
COUNTS = {"train": 60, "validation": 12, "test": 12}
PIECES = 120


def say(line: str) -> None:
    """Says nothing."""


def examples(name: str) -> list[pairs.Pair]:
    """The pairs of a tiny split."""
    repeated = [(f"{de} {i}", f"{en} {i}") for i in range(5) for de, en in PAIRS]
    return repeated if name == "train" else PAIRS


def write_text(root: Path) -> Path:
    """Writes tiny parallel text."""
    root.mkdir(parents=True, exist_ok=True)
    mini.write({name: examples(name) for name in SPLITS}, root)
    return root


def prepare_tiny(data_dir: Path, source: Path | None = None) -> Layout:
    """Prepares a tiny full tier."""
    layout = Layout.of(data_dir, "full")
    prepare.prepare(
        data_dir, "full", source=source, expected=COUNTS, vocabulary=PIECES, processes=1, say=say
    )
    return layout


def open_tiny(data_dir: Path, name: str, *, max_length: int = 256) -> split.WmtSplit:
    """Opens a split of the tiny tier."""
    return split.open_split(
        data_dir,
        "full",
        name,
        expected_pairs=COUNTS["train" if name == "eval_train" else name],
        max_length=max_length,
        vocabulary=PIECES,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a prepared tiny tier."""
    data_dir = tmp_path_factory.mktemp("wmt")
    write_text(data_dir / "wmt")
    prepare_tiny(data_dir)
    return data_dir


def golden_store(max_length: int) -> store.TokenStore:
    """The official tokens of the sentences that are short enough, without files."""
    kept = [pair for pair in GOLDEN["tokens"] if max(map(len, pair.values())) <= max_length]
    made = store.TokenStore.__new__(store.TokenStore)
    made.ids, made.starts, made.counts = {}, {}, {}
    for side in store.SIDES:
        rows = [np.array(pair[side], np.uint16) for pair in kept]
        made.ids[side] = np.concatenate(rows)
        made.starts[side] = np.cumsum([0, *map(len, rows)])
        made.counts[side] = np.array([np.count_nonzero(row) for row in rows], np.int32)
    return made


@pytest.mark.parametrize("max_length", [16, 24, 256])
def test_packed_rows_are_the_official_ones(max_length: int) -> None:
    """The official examples come again and again, in order, in groups of 256."""
    made = golden_store(max_length)
    lengths = np.stack([made.counts[side] for side in store.SIDES], 1)
    stream = np.arange(256) % len(lengths)
    rows = rows_of_groups(lengths[stream][None], max_length)[0]
    found = [stream[rows == row] for row in range(rows.max() + 1)]
    golden = golden_arrays("pipeline/wmt.npz")
    prefix = f"maxlen{max_length}_train_packed"
    names = {name.split("/")[2] for name in golden if name.startswith(prefix)}
    assert names == set(packed_batch(made, found[:1], max_length))
    for name in names:
        expected = np.concatenate([golden[f"{prefix}/{batch}/{name}"] for batch in (0, 1)])
        batch = packed_batch(made, found[: len(expected)], max_length)
        np.testing.assert_array_equal(batch[name], expected, err_msg=name)


def test_the_written_example_of_packing() -> None:
    """Source: Workload facts (wmt), 5."""
    made = store.TokenStore.__new__(store.TokenStore)
    made.ids = {"inputs": np.array([8, 7, 2, 3, 4, 2]), "targets": np.array([4, 2, 5, 6, 2])}
    made.starts = {"inputs": np.array([0, 3, 6]), "targets": np.array([0, 2, 5])}
    made.counts = {"inputs": np.array([3, 3]), "targets": np.array([2, 3])}
    batch = packed_batch(made, [np.array([0, 1])], 10)
    assert batch["inputs"].tolist() == [[8, 7, 2, 3, 4, 2, 0, 0, 0, 0]]
    assert batch["inputs_position"].tolist() == [[0, 1, 2, 0, 1, 2, 0, 0, 0, 0]]
    assert batch["inputs_segmentation"].tolist() == [[1, 1, 1, 2, 2, 2, 0, 0, 0, 0]]
    assert batch["targets"].tolist() == [[4, 2, 5, 6, 2, 0, 0, 0, 0, 0]]
    assert batch["weights"].tolist() == [[1, 1, 1, 1, 1, 0, 0, 0, 0, 0]]


def test_an_unknown_piece_inside_chops_the_last_one_off() -> None:
    """As in the benchmark (DEV-181)."""
    made = store.TokenStore.__new__(store.TokenStore)
    made.ids = {side: np.array([5, 0, 6, 2]) for side in store.SIDES}
    made.starts = {side: np.array([0, 4]) for side in store.SIDES}
    made.counts = {side: np.array([3]) for side in store.SIDES}
    batch = packed_batch(made, [np.array([0])], 5)
    assert batch["targets"].tolist() == [[5, 0, 6, 0, 0]]
    assert batch["targets_segmentation"].tolist() == [[1, 0, 1, 0, 0]]
    assert batch["weights"].tolist() == [[1, 0, 1, 0, 0]]


@pytest.mark.clause("DATA-1")
def test_training_batches_resume_at_any_step_with_any_number_of_workers(tiny: Path) -> None:
    opened = open_tiny(tiny, "train")
    shared = {"data_seed": 3, "global_batch_size": 4}
    straight = list(itertools.islice(split.training_batches(opened, workers=0, **shared), 8))
    for start, workers in [(0, 2), (5, 0), (7, 3)]:
        again = split.training_batches(opened, start_step=start, workers=workers, **shared)
        for expected, batch in zip(straight[start:], again, strict=False):
            for name, array in expected.items():
                np.testing.assert_array_equal(batch[name], array)
    other = next(split.training_batches(opened, data_seed=4, global_batch_size=4))
    assert not np.array_equal(other["inputs"], straight[0]["inputs"])


def test_processes_make_the_parts_of_a_batch(tiny: Path) -> None:
    opened = open_tiny(tiny, "train")
    whole = next(split.training_batches(opened, data_seed=0, global_batch_size=4))
    parts = [
        next(split.training_batches(opened, data_seed=0, global_batch_size=4, part=Part(number, 2)))
        for number in range(2)
    ]
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)


@pytest.mark.clause("DATA-2")
def test_every_pair_comes_once_in_an_epoch(tiny: Path) -> None:
    """Groups of 256 pairs of the endless stream; here about four epochs each."""
    opened = open_tiny(tiny, "train")
    sentences: list[tuple[int, ...]] = []
    for batch in itertools.islice(
        split.training_batches(opened, data_seed=1, global_batch_size=2), 20
    ):
        for ids, parts in zip(batch["targets"], batch["targets_segmentation"], strict=True):
            sentences += [tuple(ids[parts == part]) for part in range(1, parts.max() + 1)]
    expected = sorted(tuple(opened.store.sentence("targets", i)) for i in range(len(opened)))
    assert sorted(sentences[: len(opened)]) == expected
    assert sorted(sentences[len(opened) : 2 * len(opened)]) == expected
    assert sentences[: len(opened)] != sentences[len(opened) : 2 * len(opened)]


@pytest.mark.clause("DATA-6")
def test_evaluation_covers_every_pair_once_with_weights_of_tokens(tiny: Path) -> None:
    opened = open_tiny(tiny, "validation")
    batches = list(split.evaluation_batches(opened, range(len(opened)), global_batch_size=5))
    assert [set(batch) for batch in batches] == [{"inputs", "targets", "weights"}] * 3
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    assert joined["weights"].dtype == np.float32
    np.testing.assert_array_equal(joined["weights"], joined["targets"] > 0)
    assert not joined["weights"][len(opened) :].any()
    texts = opened.tokenizer.decode(joined["targets"][: len(opened)])
    assert texts == [english for _, english in PAIRS]


def test_padded_rows_are_the_official_ones() -> None:
    golden = golden_arrays("pipeline/wmt.npz")
    for max_length in (16, 24, 256):
        made = golden_store(max_length)
        made.info = store.StoreInfo(
            1, "", "", max_length, 12, len(made.counts["inputs"]), 0, 0, None, {}, ""
        )
        opened = split.WmtSplit(made, None, max_length)  # type: ignore[arg-type]
        prefix = f"maxlen{max_length}_eval_padded"
        expected = np.concatenate(
            [
                golden[name]
                for name in sorted(golden)
                if name.startswith(prefix) and "inputs" in name
            ]
        )
        found = opened.padded(np.arange(len(opened)))["inputs"]
        # The official batches come from a repeated stream.
        repeated = found[np.arange(len(expected)) % len(found)]
        rows = min(len(found), len(expected))
        np.testing.assert_array_equal(repeated[:rows], expected[:rows])


def test_translations_are_cut_as_the_official_ones(tiny: Path) -> None:
    """Behind the first end; without one only the first piece is left (DEV-186)."""
    tokens = open_tiny(tiny, "test").tokenizer
    for case in golden_json("metrics_wmt.json")["wmt_decode_tokens"]["cases"]:
        kept = [int(number) for number in case["jax_ids_detokenized"].split()]
        assert tokens.decode(np.array([case["tokens"]])) == [tokens._processor.decode(kept)]


def test_both_layouts_give_the_same_tokens(tiny: Path, tmp_path: Path) -> None:
    source = tmp_path / "tfds"
    for version in sorted(set(TFDS.values())):
        names = [name for name in SPLITS if TFDS[name] == version]
        # The stock builders are registered under the first part of the name.
        writer = source / version
        tfds = tfds_store.import_tfds()
        features = tfds.features.Translation(languages=("de", "en"))
        _write_translations(tfds, writer, features, names)
    other = prepare_tiny(tmp_path / "data", source)
    ours = Layout.of(tiny, "full")
    assert other.tokenizer.read_bytes() == ours.tokenizer.read_bytes()
    for name in SPLITS:
        infos = [store.read_info(layout.tokens(name)) for layout in (ours, other)]
        assert infos[0] is not None
        assert infos[1] is not None
        assert infos[0].sha256 == infos[1].sha256
        assert infos[0].source != infos[1].source


def _write_translations(tfds, writer: Path, features, names: list[str]) -> None:
    """Writes a preparation with the layout of the stock builder's configuration."""
    target = writer

    class Writer(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(target.name)
        code_path = None

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, _):
            return {name: self._generate_examples(name) for name in names}

        def _generate_examples(self, name):
            for number, (german, english) in enumerate(examples(name)):
                yield number, {"de": german, "en": english}

    Writer.name = target.parent.parent.name
    scratch = target.parent / "scratch"
    builder = Writer(data_dir=str(scratch), file_format="array_record")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    (scratch / Writer.name / target.name).rename(target)


def test_a_prepared_tokenizer_is_kept_and_checked(tiny: Path, tmp_path: Path) -> None:
    root = write_text(tmp_path / "wmt")
    model = Layout.of(tiny, "full").tokenizer.read_bytes()
    (root / "wmt_sentencepiece_model").write_bytes(model)
    prepare_tiny(tmp_path)
    assert (root / "wmt_sentencepiece_model").read_bytes() == model
    with pytest.raises(UserError, match=r"wmt_sentencepiece_model has 120 pieces, expected 32,000"):
        tokenizer.Tokenizer(root / "wmt_sentencepiece_model", 32_000)
    (root / "wmt_sentencepiece_model").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"wmt_sentencepiece_model is no SentencePiece model"):
        prepare_tiny(tmp_path)


def test_the_tokenizer_has_other_special_ids(tmp_path: Path) -> None:
    import sentencepiece

    lines = [line for pair in examples("train") for line in pair]
    with (tmp_path / "model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            vocab_size=PIECES,
            unk_id=1,
            bos_id=0,
            minloglevel=2,
        )
    with pytest.raises(UserError, match=r"has the ids \(1, 0, 2\) .* expected \(0, 1, 2\)"):
        tokenizer.Tokenizer(tmp_path / "model", PIECES)


def test_the_text_that_a_tokenizer_is_trained_on_ends_at_a_size() -> None:
    """German and English in turn, whole pairs, until there are enough bytes."""
    found = list(tokenizer.training_lines([("äb", "cd"), ("e", "f"), ("g", "h")], size=8))
    assert found == ["äb", "cd", "e", "f"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    root = write_text(tmp_path / "wmt")
    lines = [f"{german}\n" for german, _ in examples("test")]
    lines[2], lines[5] = "\n", "wort " * 300 + "\n"
    (root / "test.de").write_text("".join(lines), encoding="utf-8")
    said: list[str] = []
    prepare.prepare(
        tmp_path, "full", expected=COUNTS, vocabulary=PIECES, processes=1, say=said.append
    )
    info = store.read_info(root / "tokens" / "test")
    assert info is not None
    assert (info.num_pairs, info.num_kept, info.num_too_long) == (12, 11, 1)
    assert (info.num_empty, info.first_empty) == (1, 3)
    assert any(
        line == "test: 11 pairs, 1 longer than 256 pieces left out, 1 with an empty sentence "
        "(first: pair 3)"
        for line in said
    )
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["splits"]["test"]["num_too_long"] == 1


def test_bad_text_is_named(tmp_path: Path) -> None:
    root = write_text(tmp_path / "wmt")
    text = (root / "train.en").read_bytes()
    (root / "train.en").write_bytes(text + b"one more\n")
    with pytest.raises(UserError, match=r"train.de has 60 lines and .*train.en has 61"):
        prepare_tiny(tmp_path)
    (root / "train.en").write_bytes(text.replace(b"Good morning 1\n", b"Good \xff morning\n"))
    with pytest.raises(UserError, match=r"train.en, line 13: not UTF-8"):
        prepare_tiny(tmp_path)
    (root / "train.en").unlink()
    with pytest.raises(MissingDataError, match=r"train.en is missing"):
        prepare_tiny(tmp_path)
    with pytest.raises(MissingDataError, match=r"no sentence pairs in .*name their folder with"):
        prepare_tiny(tmp_path / "nothing")


def test_a_wrong_number_of_pairs_is_an_error(tmp_path: Path) -> None:
    write_text(tmp_path / "wmt")
    with pytest.raises(UserError, match=r"parallel text has \{'train': 60.* the full tier"):
        prepare.prepare(
            tmp_path, "full", expected=COUNTS | {"train": 61}, vocabulary=PIECES, say=say
        )


def test_a_store_that_does_not_fit_is_an_error(tiny: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "wmt")
    layout = prepare_tiny(tmp_path)
    with pytest.raises(UserError, match=r"at most 256 pieces, expected 60 of at most 99"):
        open_tiny(tmp_path, "train", max_length=99)
    ids = layout.tokens("train") / "inputs_ids.npy"
    ids.write_bytes(ids.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"inputs in .*train are cut off"):
        open_tiny(tmp_path, "train")
    tokenizer.train(tmp_path / "other", (f"{a} {b} x" for a, b in examples("train")), PIECES)
    (tmp_path / "other").replace(layout.tokenizer)
    with pytest.raises(UserError, match=r"made with another tokenizer than"):
        open_tiny(tmp_path, "test")
    with pytest.raises(MissingDataError, match=r"prepare wmt --tier full --data_dir"):
        open_tiny(tmp_path / "nothing", "train")


def test_prepared_again_it_keeps_what_is_there(tmp_path: Path) -> None:
    write_text(tmp_path / "wmt")
    layout = prepare_tiny(tmp_path)
    before = (layout.tokens("train") / "inputs_ids.npy").stat().st_mtime_ns
    prepare_tiny(tmp_path)
    assert (layout.tokens("train") / "inputs_ids.npy").stat().st_mtime_ns == before


def test_verify_and_list_tell_what_is_wrong(tmp_path: Path) -> None:
    assert "is not prepared" in verify.verify(tmp_path, "full")[0]
    write_text(tmp_path / "wmt")
    layout = prepare_tiny(tmp_path)
    (listed,) = datasets.commands("wmt").listing(tmp_path)
    assert (listed.state, listed.examples) == ("prepared", COUNTS)
    (problem,) = verify.verify(tmp_path, "full")
    assert "has 120 pieces, expected 32,000" in problem
    layout.manifest.unlink()
    (listed,) = datasets.commands("wmt").listing(tmp_path)
    assert listed.state.startswith("unfinished; run: python -m algoperf_ref.data prepare wmt")


def test_the_command_line_says_one_sentence(tmp_path: Path, capsys) -> None:
    assert main(["prepare", "wmt", "--tier", "full", "--data_dir", str(tmp_path)]) != 0
    assert "no sentence pairs in" in capsys.readouterr().err
    assert main(["convert", "wmt", "--data_dir", str(tmp_path)]) != 0
    assert "name their folder with --source" in capsys.readouterr().err


def test_mini_texts_are_cleaned() -> None:
    assert mini.cleaned("See [the **manual**](http://x) <b>now</b>\n `x`") == "See the manual now x"
    found = mini.usable(
        iter(
            [
                ("Das ist gut so", "This is good so"),
                ("Anders gesagt das", "This is good so"),  # English again
                ("Der Wert ist {wert}", "The value is {value}"),
                ("Zu kurz", "Too short"),
                ("Gleich in beiden Sprachen", "Gleich in beiden Sprachen"),
            ]
        )
    )
    assert found == [("Das ist gut so", "This is good so")]
