"""Preparing, converting, checking and listing utterances: archives, folders, what is wrong."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from algoperf_ref.data import cli, datasets
from algoperf_ref.data.librispeech import archives, commands, packed, prepare, scan, trees, verify
from algoperf_ref.data.librispeech.audio import read_flac, write_flac
from algoperf_ref.data.librispeech.layout import NUM_UTTERANCES, SPLIT_PARTS, TREE, Layout
from algoperf_ref.data.librispeech.split import open_split
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.data.test_librispeech_reading import write_official
from conformance_tests.support import utterances

PARTS = Layout.of("", "full").parts
COUNTS = {"train": 62, "validation": 5, "test": 3}
# Of every part; the first is what the tokenizer of full size is trained on.
SIZES = dict(zip(PARTS, (56, 3, 3, 2, 3, 3), strict=True))
SECOND = 16_000


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts as they are when unpacked; do not change them."""
    root = tmp_path_factory.mktemp("originals")
    for number, (part, size) in enumerate(SIZES.items()):
        texts = utterances.long_sentences(size, seed=number)
        speaker = 100 * (number + 1)
        utterances.write_part(root / TREE / part, texts, word_samples=40, first_speaker=speaker)
    return root


def _pack(originals: Path, target: Path) -> Path:
    """The archives as they are downloaded."""
    target.mkdir(exist_ok=True)
    for part in PARTS:
        with tarfile.open(target / archives.name_of(part), "w:gz") as tar:
            readme = tarfile.TarInfo(f"{TREE}/README.TXT")
            readme.size = 4
            tar.addfile(readme, io.BytesIO(b"read"))
            tar.add(originals / TREE / part, f"{TREE}/{part}")
    return target


def _prepare(
    data_dir: Path, source: Path | None = None, expected: Mapping[str, int] = COUNTS
) -> list[str]:
    said: list[str] = []
    prepare.prepare(
        data_dir, "full", source=source, processes=2, expected=expected, say=said.append
    )
    return said


def _contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for part in PARTS
        for path in (root / TREE / part).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, originals: Path) -> Path:
    """A prepared full tier; do not change it."""
    data_dir = tmp_path_factory.mktemp("prepared")
    shutil.copytree(originals / TREE, data_dir / "librispeech" / TREE)
    _prepare(data_dir)
    return data_dir


@pytest.fixture
def data_dir(tmp_path: Path, prepared: Path) -> Path:
    """A copy."""
    shutil.copytree(prepared, tmp_path / "data")
    return tmp_path / "data"


def test_archives_are_unpacked_checked_and_indexed(tmp_path: Path, originals: Path) -> None:
    data = tmp_path / "data"
    said = _prepare(data, _pack(originals, tmp_path / "downloads"))
    assert [line.split(" ")[0] for line in said[: len(PARTS)]] == ["unpacking"] * len(PARTS)
    assert "training a tokenizer on the transcripts of train-clean-100" in said
    assert any(line.startswith("train-clean-100: 56 of 56 utterances") for line in said)
    assert _contents(data / "librispeech") == _contents(originals)
    assert verify.verify(data, "full", expected=COUNTS) == []
    assert _prepare(data) == [f"{data / 'librispeech'}: already prepared"]
    for split, count in COUNTS.items():
        assert len(open_split(data, "full", split, expected_examples=count)) == count
    (row,) = commands.listing(data)
    assert (row.dataset, row.tier, row.state) == ("librispeech", "full", "prepared")
    assert row.examples == COUNTS
    assert row.bytes > 10_000
    manifest = json.loads((data / "librispeech" / "manifest.json").read_text())
    assert manifest["tokenizer"]["pieces"] == 1024
    assert manifest["packages"]["soundfile"] is not None
    assert "sha256" not in manifest


def test_expected_counts_are_those_of_the_specification() -> None:
    """Workload facts (librispeech_data), 1."""
    assert prepare.expected_counts("full") == {
        "train": 263_840,
        "validation": 5_348,
        "test": 2_472,
    }
    assert prepare.expected_counts("mini") == {"train": 2_000, "validation": 300, "test": 300}
    found = {
        split: sum(NUM_UTTERANCES[part] for part in parts)
        for split, parts in SPLIT_PARTS["full"].items()
    }
    assert found == {"train": 281_241, "validation": 5_567, "test": 2_620}
    assert "librispeech" in datasets.NAMES
    assert datasets.of_workload("librispeech_deepspeech_tanh") == "librispeech"


def test_an_interrupted_preparation_goes_on_where_it_was(
    tmp_path: Path, originals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, data = _pack(originals, tmp_path / "downloads"), tmp_path / "data"
    copy, copied = shutil.copyfileobj, []

    def fails(*arguments: object) -> None:
        copied.append(arguments)
        if len(copied) == 4:
            raise KeyboardInterrupt
        copy(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(archives.shutil, "copyfileobj", fails)
        with pytest.raises(KeyboardInterrupt):
            _prepare(data, source)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    assert len(before) == 3
    assert commands.listing(data)[0].state == "not finished, run prepare"

    # Once more, while the parts are read.
    read, looked_at = scan.read_flac, []

    def stops(path: Path) -> np.ndarray:
        looked_at.append(path)
        if "dev-clean" in str(path):
            raise KeyboardInterrupt
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(scan, "read_flac", stops)
        with pytest.raises(KeyboardInterrupt):
            _prepare(data, source)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert (data / "librispeech" / "index" / "train-other-500-flac.npz").is_file()
    with pytest.raises(MissingDataError, match="dev-clean, dev-other"):
        open_split(data, "full", "validation")

    again: list[Path] = []
    monkeypatch.setattr(scan, "read_flac", lambda path: (again.append(path), read(path))[1])
    said = _prepare(data, source)
    assert len(again) == SIZES["dev-clean"] + SIZES["dev-other"] + SIZES["test-clean"]
    assert not any(line.startswith(("unpacking", "train-")) and "train" in line for line in said)
    assert _contents(data / "librispeech") == _contents(originals)


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_an_archive_that_is_cut_off_is_named(tmp_path: Path, originals: Path, share: float) -> None:
    source = _pack(originals, tmp_path / "downloads")
    archive = source / archives.name_of("dev-other")
    whole = archive.read_bytes()
    os.truncate(archive, int(archive.stat().st_size * share))
    with pytest.raises(UserError, match=r"dev-other\.tar\.gz is damaged or not complete"):
        _prepare(tmp_path / "data", source)
    archive.write_bytes(whole)
    _prepare(tmp_path / "data", source)
    assert _contents(tmp_path / "data" / "librispeech") == _contents(originals)


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path, originals: Path) -> None:
    source = _pack(originals, tmp_path / "downloads")
    with tarfile.open(source / archives.name_of("test-clean"), "w:gz") as tar:
        for name in (
            f"{TREE}/test-clean/../../x.flac",
            f"{TREE}/test-clean/../a/x.flac",
            f"{TREE}/dev-clean/1/2/x.flac",
            "/x.flac",
        ):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"fLaC"))
    with pytest.raises(UserError, match="holds no utterances of test-clean where they are"):
        _prepare(tmp_path / "data", source)
    assert not list(tmp_path.rglob("x.flac"))


@pytest.mark.parametrize("inner", ["", TREE, "librispeech"])
def test_unpacked_parts_are_linked(tmp_path: Path, originals: Path, inner: str) -> None:
    source = tmp_path / "source"
    shutil.copytree(originals / TREE, source / inner)
    said = _prepare(tmp_path / "data", source)
    assert sum(line.startswith("linked") for line in said) == len(PARTS)
    assert (tmp_path / "data" / "librispeech" / TREE / "dev-clean").is_symlink()
    assert verify.verify(tmp_path / "data", "full", expected=COUNTS) == []


def test_the_official_preparation_is_linked_with_its_tokenizer(
    tmp_path: Path, prepared: Path
) -> None:
    layout, source, data = Layout.of(prepared, "full"), tmp_path / "source", tmp_path / "data"
    write_official(layout, source)
    with pytest.raises(MissingDataError, match=r"spm_model\.vocab, the tokenizer .* put it there"):
        _prepare(data, source)
    shutil.copy(layout.tokenizer, source)
    _prepare(data, source)
    assert (data / "librispeech" / "spm_model.vocab").read_bytes() == layout.tokenizer.read_bytes()
    assert verify.verify(data, "full", expected=COUNTS) == []
    for split, count in COUNTS.items():
        numbers = np.arange(count)
        ours = open_split(data, "full", split).make()(numbers, numbers)
        theirs = open_split(prepared, "full", split).make()(numbers, numbers)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    # The packed form of it serves alone.
    commands.convert(data, tier="full", say=lambda _: None)
    shutil.rmtree(source)
    assert verify.verify(data, "full", expected=COUNTS) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda names: [], r"dev-clean\.csv: the first line is not ',id'"),
        (lambda names: ["0,1-2-3\n"], r"dev-clean\.csv: the first line is not"),
        (lambda names: [*names, names[1]], r"dev-clean\.csv: line 4 is there twice"),
        (lambda names: [names[0], "0\n"], r"dev-clean\.csv: line 2 has no name of an utterance"),
        (lambda names: [names[0], "0,../../x\n"], r"dev-clean\.csv: line 2 has no name"),
    ],
)
def test_a_damaged_list_of_names_is_named(
    tmp_path: Path, prepared: Path, damage: Callable[[list[str]], list[str]], message: str
) -> None:
    write_official(Layout.of(prepared, "full"), tmp_path)
    path = tmp_path / "dev-clean.csv"
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    with pytest.raises(UserError, match=message):
        scan.official_names(tmp_path / "dev-clean")


def test_what_is_wrong_with_official_arrays_is_counted(tmp_path: Path, prepared: Path) -> None:
    layout = Layout.of(prepared, "full")
    write_official(layout, tmp_path)
    folder = tmp_path / "train-clean-100"
    names = sorted(scan.official_names(folder))
    np.save(folder / f"{names[0]}_targets.npy", np.array([5, 6], np.int32))
    np.save(folder / f"{names[1]}_targets.npy", np.array([1024, 2], np.int32))
    (folder / f"{names[2]}_audio.npy").unlink()
    (folder / f"{names[3]}_targets.npy").write_bytes(b"")
    np.save(folder / f"{names[4]}_audio.npy", np.zeros(320_001, np.int64))
    np.save(folder / f"{names[5]}_audio.npy", np.zeros(320_000, np.int64))
    model = Tokenizer(layout.tokenizer)
    found = scan.index_official(folder, model, max_audio_length=320_000, workers=2)
    assert found.names.tolist() == names[5:]
    assert found.left_out.long_audio == 1
    assert found.left_out.found == 56
    for name, message in zip(
        sorted(found.left_out.unusable),
        (
            "targets.npy does not end with the last piece",
            "targets.npy has a piece outside of the 1024",
            "audio.npy cannot be read",
            "targets.npy cannot be read",
        ),
        strict=True,
    ):
        assert message in name


def test_what_is_missing_is_said_with_where_to_get_it(tmp_path: Path, originals: Path) -> None:
    with pytest.raises(
        MissingDataError,
        match=r"no utterances of train-clean-100, .*: get train-clean-100\.tar\.gz, .* from "
        r"openslr\.org/12 .*--source",
    ):
        _prepare(tmp_path)
    source = _pack(originals, tmp_path / "downloads")
    (source / archives.name_of("test-clean")).unlink()
    with pytest.raises(MissingDataError, match="no utterances of test-clean: get test-clean"):
        _prepare(tmp_path / "data", source)


# What is left out, and what is odd.


def test_long_audio_and_long_transcripts_are_left_out_and_counted(
    tmp_path: Path, prepared: Path
) -> None:
    """At most 320,000 samples and 256 characters. Source: Workload facts (librispeech_data), 1."""
    folder = tmp_path / "test-clean"
    texts = ["A" * 256, "B" * 257, "C", "D", "E"]
    names = utterances.write_part(folder, texts, word_samples=100)
    write_flac(trees.path_of(folder, names[2]), np.ones(320_000, np.int16))
    write_flac(trees.path_of(folder, names[3]), np.ones(320_001, np.int16))
    model = Tokenizer(Layout.of(prepared, "full").tokenizer)
    found = scan.index_tree(trees.read(folder), model, max_audio_length=320_000, workers=1)
    assert found.names.tolist() == sorted([names[0], names[2], names[4]])
    assert sorted(found.samples.tolist()) == [100, 100, 320_000]
    assert (found.left_out.long_transcripts, found.left_out.long_audio) == (1, 1)
    assert found.left_out.found == 5
    assert found.left_out.unusable == []
    for number, name in enumerate(found.names.tolist()):
        text = texts[names.index(name)]
        assert found.target(number).tolist() == model.encode(text)


def test_unknown_characters_are_counted_and_named_and_stay(data_dir: Path) -> None:
    root = data_dir / "librispeech"
    path = next((root / TREE / "dev-clean").rglob("*.trans.txt"))
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]} É\n{lines[1]}É Ü\n", encoding="utf-8")
    shutil.rmtree(root / "index")
    (root / "manifest.json").unlink()
    said = _prepare(data_dir)
    (line,) = (line for line in said if "does not know" in line)
    first = lines[0].split()[0]
    assert line.startswith("dev-clean: 2 utterances have characters that the tokenizer does not")
    assert f"(ÉÜ), for example {first}, " in line
    split = open_split(data_dir, "full", "validation", expected_examples=5)
    target = split.stores[0].index.target(0)
    assert 0 in target.tolist()
    assert verify.verify(data_dir, "full", expected=COUNTS) == []
    left_out = json.loads((root / "manifest.json").read_text())["left_out"]["dev-clean"]
    assert left_out["with unknown characters, but kept"][0] == first


PROBLEMS: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(b""), r"\.flac cannot be decoded \(the file is empty\)"),
    (lambda path: os.truncate(path, path.stat().st_size // 2), r"\.flac (cannot be|is cut off)"),
    (lambda path: path.unlink(), r"\.flac is missing, but has a transcript in"),
    (
        lambda path: soundfile.write(path, np.zeros(9, np.int16), 8_000, subtype="PCM_16"),
        r"\.flac has 8000 samples a second",
    ),
    (
        lambda path: shutil.copy(path, path.with_name("200-7-0009.flac")),
        r"200-7-0009\.flac has no transcript in 200-7\.trans\.txt",
    ),
    (lambda path: next(path.parent.glob("*.txt")).unlink(), r"200-7\.trans\.txt is missing"),
    (
        lambda path: next(path.parent.glob("*.txt")).write_bytes(b"200-7-0000 \xff\xfe\n"),
        r"trans\.txt: line 1 is not UTF-8",
    ),
    (
        lambda path: next(path.parent.glob("*.txt")).write_text("x A\n200-7-0000 A\n"),
        r"trans\.txt: line 1 does not begin with 200-7-",
    ),
    (
        lambda path: next(path.parent.glob("*.txt")).write_text("200-7-0000 A\n200-7-0000 B\n"),
        r"trans\.txt: line 2 is a second transcript of 200-7-0000",
    ),
]


@pytest.mark.parametrize(("damage", "message"), PROBLEMS)
def test_what_is_wrong_is_named_at_preparation_and_mended_by_repeating_it(
    data_dir: Path, originals: Path, damage: Callable[[Path], object], message: str
) -> None:
    root = data_dir / "librispeech"
    part = root / TREE / "train-clean-360"
    damage(part / "200" / "7" / "200-7-0000.flac")
    (root / "index" / "train-clean-360-flac.npz").unlink()
    (root / "manifest.json").unlink()
    said: list[str] = []
    if "has no transcript" in message:  # an additional file is no loss
        prepare.prepare(data_dir, "full", expected=COUNTS, say=said.append)
    else:
        with pytest.raises(UserError, match=rf"usable train utterances.*62.*{message}.*again"):
            prepare.prepare(data_dir, "full", expected=COUNTS, say=said.append)
        with pytest.raises(MissingDataError, match="the full tier has 62"):
            open_split(data_dir, "full", "train", expected_examples=62)
    assert any(line.startswith("train-clean-360: ") and "problem" in line for line in said)
    problems = verify.verify(data_dir, "full", expected=COUNTS)
    assert any(re.search(message, problem) for problem in problems)
    shutil.rmtree(part)
    shutil.copytree(originals / TREE / "train-clean-360", part)
    (root / "manifest.json").unlink(missing_ok=True)
    _prepare(data_dir)
    assert verify.verify(data_dir, "full", expected=COUNTS) == []


def test_too_few_utterances_are_an_error_that_says_of_which_part(
    tmp_path: Path, originals: Path
) -> None:
    shutil.copytree(originals, tmp_path / "librispeech")
    with pytest.raises(
        UserError,
        match=r"5 usable validation utterances, the data set has 6: complete the parts "
        r"\(dev-clean 2 of 2,703, dev-other 3 of 2,864\)",
    ):
        _prepare(tmp_path, expected=COUNTS | {"validation": 6})


# The tokenizer.


def test_a_tokenizer_is_never_overwritten(data_dir: Path, originals: Path) -> None:
    root = data_dir / "librispeech"
    path = root / "spm_model.vocab"
    utterances.tokenizer.train(utterances.long_sentences(80, seed=9), path, pieces=1024)
    content = path.read_bytes()
    with pytest.raises(UserError, match="was prepared with another tokenizer"):
        open_split(data_dir, "full", "train")
    assert any("another tokenizer" in p for p in verify.verify(data_dir, "full", expected=COUNTS))
    _prepare(data_dir)  # as the error proposes
    assert path.read_bytes() == content
    assert verify.verify(data_dir, "full", expected=COUNTS) == []

    utterances.tokenizer.train(utterances.long_sentences(80), path, pieces=500)
    with pytest.raises(UserError, match="has 500 pieces, the full tier's tokenizer 1024"):
        _prepare(data_dir)
    assert len(Tokenizer(path)) == 500
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="is no SentencePiece model"):
        _prepare(data_dir)
    assert path.read_bytes() == b"something else"
    assert any("is no SentencePiece" in p for p in verify.verify(data_dir, "full", expected=COUNTS))


# Converting.


def test_packing_makes_the_same_examples_and_goes_on_after_an_interruption(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = open_split(data_dir, "full", "train")
    numbers = np.arange(len(split))
    expected = split.make()(numbers, numbers)
    monkeypatch.setitem(packed.write.__kwdefaults__, "utterances_per_file", 20)
    read, done = type(split.stores[0]).read, []

    def fails(self: object, number: int) -> np.ndarray:
        if number == 45:
            raise KeyboardInterrupt
        done.append(number)
        return read(self, number)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(split.stores[0]), "read", fails)
        with pytest.raises(KeyboardInterrupt):
            commands.convert(data_dir, tier="full", say=lambda _: None)
    assert {store.form for store in open_split(data_dir, "full", "train").stores} == {"flac"}
    staging = data_dir / "librispeech" / "packed" / ".train-clean-100.converting"
    before = {path: path.stat().st_mtime_ns for path in staging.glob("*.bin")}
    assert len(before) == 2
    said: list[str] = []
    place = commands.convert(data_dir, tier="full", say=said.append)
    assert len(said) == len(PARTS)
    for path, time in before.items():
        assert (place / "train-clean-100" / path.name).stat().st_mtime_ns == time
    other = open_split(data_dir, "full", "train", expected_examples=len(split))
    assert {store.form for store in other.stores} == {"packed"}
    found = other.make()(numbers, numbers)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    said.clear()
    commands.convert(data_dir, tier="full", say=said.append)
    assert all(line.endswith("already converted") for line in said)
    # The original files are not needed any more.
    shutil.rmtree(data_dir / "librispeech" / TREE)
    shutil.rmtree(data_dir / "librispeech" / "index")
    assert verify.verify(data_dir, "full", expected=COUNTS) == []
    assert _prepare(data_dir) == [f"{data_dir / 'librispeech'}: already prepared"]
    (data_dir / "librispeech" / "manifest.json").unlink()
    assert _prepare(data_dir)[-1].endswith("ready")


def test_a_conversion_of_something_else_is_not_continued(data_dir: Path) -> None:
    staging = data_dir / "librispeech" / "packed" / ".dev-clean.converting"
    staging.mkdir(parents=True)
    (staging / "audio-00000.bin").write_bytes(b"of something else")
    commands.convert(data_dir, tier="full", say=lambda _: None)
    assert verify.verify(data_dir, "full", expected=COUNTS) == []


def test_there_may_be_nothing_to_convert(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no full tier of librispeech"):
        commands.convert(tmp_path, tier="full", say=lambda _: None)
    with pytest.raises(UserError, match="leave out --source"):
        commands.convert(tmp_path, tier="full", source=tmp_path, say=lambda _: None)


# Checking and listing.


def test_verify_names_every_problem(data_dir: Path) -> None:
    root = data_dir / "librispeech"
    paths = sorted((root / TREE / "test-clean").rglob("*.flac"))
    os.truncate(paths[0], 60)
    write_flac(paths[1], np.zeros(len(read_flac(paths[1])) + 1, np.int16))
    (root / "index" / "dev-other-flac.npz").unlink()
    (root / "manifest.json").unlink()
    problems = verify.verify(data_dir, "full", expected=COUNTS)
    for message in (
        f"{paths[0]} cannot be decoded",
        f"{paths[1]} has ",
        "no full tier of librispeech (dev-other)",
        "2 usable validation utterances, expected 5",
        "manifest.json is missing; run: python -m algoperf_ref.data prepare",
    ):
        assert sum(message in problem for problem in problems) == 1, message
    assert len(problems) == 5
    assert all("\n" not in problem for problem in problems)


def test_the_command_line_knows_the_data_set(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["list", "librispeech", "--data_dir", str(prepared)]) == 0
    line = capsys.readouterr().out
    assert line.startswith("librispeech full: prepared; train 62, validation 5, test 3; ")
    arguments = ["librispeech", "--tier", "full", "--data_dir", str(prepared)]
    assert cli.main(["verify", *arguments]) == 1  # it has not as many as LibriSpeech
    assert "62 usable train utterances, expected 263,840" in capsys.readouterr().out
    arguments[-1] = str(tmp_path)
    assert cli.main(["verify", *arguments]) == 2
    assert "prepare it with: python -m algoperf_ref.data" in capsys.readouterr().err
    (tmp_path / "librispeech").write_bytes(b"")
    assert cli.main(["prepare", *arguments]) == 2
    assert "give another --data_dir" in capsys.readouterr().err
    assert commands.listing(tmp_path / "none") == []
