"""Preparing, reading and checking molecules, on small inputs in the formats of the full tier."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.data import packed_store, tfds_store, tfrecord
from algoperf_ref.data.ogbg import prepare, raw, verify
from algoperf_ref.data.ogbg.layout import SPLITS, Layout, load_packed_split
from algoperf_ref.data.packed import PackedGraphs
from algoperf_ref.errors import MissingDataError, UserError
from algoperf_ref.workloads.ogbg.data import load_split
from conformance_tests.support import molecules

SIZES = {"train": 12, "validation": 5, "test": 4}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared tiny data directory (mini layout), with its tfds data set; do not change it."""
    pytest.importorskip("tensorflow_datasets")
    return molecules.write_tiny_ogbg(tmp_path_factory.mktemp("tiny"), **SIZES, with_tfds=True)


@pytest.fixture
def own_tiny(tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(tiny, tmp_path / "data")


@pytest.fixture(scope="module")
def tfrecords(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same examples as an official preparation: tfrecord shards, several for train."""
    from array_record.python import array_record_module

    source = Layout.of(tiny, "mini").own_tfds
    target = tmp_path_factory.mktemp("official") / "ogbg_molpcba" / "0.1.3"
    target.mkdir(parents=True)
    shutil.copy(source / "features.json", target)
    info = json.loads((source / "dataset_info.json").read_text())
    # Old tfds versions do not write the format.
    del info["fileFormat"]
    for split in info["splits"]:
        (path,) = source.glob(f"*-{split['name']}.array_record-*")
        reader = array_record_module.ArrayRecordReader(str(path))
        stored = reader.read_all()
        reader.close()
        shards = [stored[:7], stored[7:]] if split["name"] == "train" else [stored]
        split["shardLengths"] = [str(len(shard)) for shard in shards]
        for number, shard in enumerate(shards):
            name = f"ogbg_molpcba-{split['name']}.tfrecord-{number:05d}-of-{len(shards):05d}"
            (target / name).write_bytes(b"".join(map(_framed, shard)))
    (target / "dataset_info.json").write_text(json.dumps(info))
    return target


def _crc32c(data: bytes) -> int:
    google_crc32c = pytest.importorskip("google_crc32c")
    return int(google_crc32c.value(data))


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return (
        length
        + struct.pack("<I", tfrecord.masked(_crc32c(length)))
        + record
        + struct.pack("<I", tfrecord.masked(_crc32c(record)))
    )


def _write_raw(folder: Path, examples: Mapping[str, list[dict[str, Any]]]) -> Path:
    """The raw OGB layout; the graphs of the splits are interleaved."""
    owners = [split for split, graphs in examples.items() for _ in graphs]
    np.random.RandomState(0).shuffle(owners)
    iterators = {split: iter(graphs) for split, graphs in examples.items()}
    graphs = [next(iterators[split]) for split in owners]

    def write(name: str, rows: list[list[Any]]) -> None:
        path = folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def table(field: str) -> list[list[int]]:
        return [row for graph in graphs for row in graph[field].astype(int).tolist()]

    write("raw/num-node-list", [graph["num_nodes"].tolist() for graph in graphs])
    write("raw/num-edge-list", [graph["num_edges"].tolist() for graph in graphs])
    write("raw/node-feat", table("node_feat"))
    write("raw/edge-feat", table("edge_feat"))
    write("raw/edge", table("edge_index"))
    texts = [["" if np.isnan(label) else label for label in graph["labels"]] for graph in graphs]
    write("raw/graph-label", texts)
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        numbers = [[number] for number, owner in enumerate(owners) if owner == split]
        write(f"split/scaffold/{name}", numbers)
    return folder


@pytest.fixture
def examples(tiny: Path) -> dict[str, list[dict[str, Any]]]:
    return {split: list(load_split(tiny, "mini", split).examples()) for split in SPLITS}


def _digests(data_dir: Path, tier: str) -> dict[str, str]:
    return {split: packed_store.digest(load_split(data_dir, tier, split)) for split in SPLITS}


def _quiet_prepare(data_dir: Path, **arguments: Any) -> list[str]:
    said: list[str] = []
    prepare.prepare(data_dir, "full", expected=SIZES, say=said.append, **arguments)
    return said


def test_the_written_data_set_reads_back_by_its_real_name(tiny: Path) -> None:
    import tensorflow_datasets as tfds

    root = Layout.of(tiny, "mini").root
    for split, size in SIZES.items():
        source = tfds.data_source("ogbg_molpcba:0.1.3", split=split, data_dir=str(root))
        assert len(source) == size
        wanted = load_split(tiny, "mini", split)
        for number in range(size):
            expected = wanted.example(number)
            assert set(source[number]) == set(expected)
            for field, value in expected.items():
                np.testing.assert_array_equal(source[number][field], value)
                assert source[number][field].dtype == value.dtype


def test_packing_the_tfds_data_set_gives_the_packed_columns(own_tiny: Path) -> None:
    before = _digests(own_tiny, "mini")
    shutil.rmtree(Layout.of(own_tiny, "mini").root / "packed")
    assert _digests(own_tiny, "mini") == before
    # It was stored on the way: the second time there is nothing to pack.
    assert packed_store.info(Layout.of(own_tiny, "mini").packed("train")) is not None


def test_a_read_only_data_directory_is_packed_in_memory(
    own_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(Layout.of(own_tiny, "mini").root / "packed")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(packed_store, "save", refuse)
    assert len(load_split(own_tiny, "mini", "test")) == SIZES["test"]


def test_eval_train_reads_the_training_split(tiny: Path) -> None:
    assert len(load_split(tiny, "mini", "eval_train", expected_examples=12)) == 12


def test_unknown_splits_and_tiers_are_named(tiny: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        load_split(tiny, "mini", "dev")
    with pytest.raises(ValueError, match="unknown split 'eval_train'"):
        load_packed_split(tiny, "mini", "eval_train")
    with pytest.raises(ValueError, match="unknown tier 'maxi'"):
        load_split(tiny, "maxi", "train")


def test_missing_data_names_the_prepare_command(tmp_path: Path) -> None:
    command = f"python -m algoperf_ref.data prepare ogbg --tier mini --data_dir {tmp_path}"
    with pytest.raises(MissingDataError) as caught:
        load_split(tmp_path, "mini", "train")
    assert command in str(caught.value)
    with pytest.raises(MissingDataError, match="prepare ogbg --tier mini"):
        verify.verify(tmp_path, "mini")


def test_asking_for_the_other_tier_says_which_one_is_there(tiny: Path) -> None:
    with pytest.raises(MissingDataError, match=r"the mini tier is there.*--tier full"):
        load_split(tiny, "full", "train")


@pytest.mark.clause("DATA-7")
def test_another_number_of_graphs_than_specified_is_an_error(tiny: Path) -> None:
    assert len(load_split(tiny, "mini", "train", expected_examples=12)) == 12
    with pytest.raises(MissingDataError, match=r"12 train graphs, but the mini tier has 12000"):
        load_split(tiny, "mini", "train", expected_examples=12000)


def test_a_missing_column_is_an_error_that_says_what_to_do(own_tiny: Path) -> None:
    (Layout.of(own_tiny, "mini").packed("test") / "bonds.npy").unlink()
    with pytest.raises(MissingDataError, match=r"is incomplete .* delete it and run"):
        load_split(own_tiny, "mini", "test")


def test_a_raw_download_becomes_the_same_graphs(
    tmp_path: Path, examples: dict[str, list[dict[str, Any]]]
) -> None:
    _write_raw(tmp_path / "data" / "ogbg" / "ogbg_molpcba", examples)
    data = tmp_path / "data"
    _quiet_prepare(data)
    for split, graphs in examples.items():
        assert packed_store.digest(load_split(data, "full", split)) == packed_store.digest(
            PackedGraphs.from_examples(graphs)
        )
    assert verify.verify(data, "full", expected=SIZES) == []
    assert tfds_store.file_format(Layout.of(data, "full").own_tfds) == "array_record"
    assert _quiet_prepare(data) == [f"{data / 'ogbg'}: already prepared"]


def test_an_interrupted_raw_preparation_does_not_read_the_files_again(
    tmp_path: Path,
    examples: dict[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = _write_raw(tmp_path / "download", examples)
    data = tmp_path / "data"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "write_tfds", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _quiet_prepare(data, source=source)
    with pytest.raises(MissingDataError):
        verify.verify(data, "full", expected=SIZES)
    monkeypatch.setattr(raw, "read_splits", None)
    _quiet_prepare(data, source=source)
    assert verify.verify(data, "full", expected=SIZES) == []


def test_the_published_archive_is_read_without_unpacking(
    tmp_path: Path, examples: dict[str, list[dict[str, Any]]]
) -> None:
    folder = _write_raw(tmp_path / "pcba", examples)
    archive = tmp_path / "pcba.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*.csv.gz"):
            file.write(path, path.relative_to(tmp_path))
    assert raw.checksum(archive) == raw.checksum(folder)
    from_archive, from_folder = raw.read_splits(archive), raw.read_splits(folder)
    for split in SPLITS:
        assert packed_store.digest(from_archive[split]) == packed_store.digest(from_folder[split])
    # This one is not the published file, which `prepare` notices before reading it.
    with pytest.raises(UserError, match=r"SHA-256 is .* download it again"):
        _quiet_prepare(tmp_path / "data", source=archive)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("raw/edge.csv.gz", None, "raw/edge.csv.gz is missing"),
        ("raw/edge.csv.gz", "0,1\n", "contradict each other"),
        ("raw/graph-label.csv.gz", "0,1,perhaps\n", "line 1: 'perhaps' is not a label"),
        ("raw/node-feat.csv.gz", "1,2\n3\n", "raw/node-feat.csv.gz is malformed"),
        ("raw/num-node-list.csv.gz", b"no gzip", "raw/num-node-list.csv.gz is malformed"),
        ("split/scaffold/test.csv.gz", "0\n0\n", "does not name every graph exactly once"),
    ],
)
def test_a_damaged_raw_download_is_one_clear_sentence(
    tmp_path: Path,
    examples: dict[str, list[dict[str, Any]]],
    name: str,
    content: str | bytes | None,
    message: str,
) -> None:
    source = _write_raw(tmp_path / "raw", examples)
    if content is None:
        (source / name).unlink()
    elif isinstance(content, bytes):
        (source / name).write_bytes(content)
    else:
        (source / name).write_bytes(gzip.compress(content.encode()))
    with pytest.raises(UserError, match=message):
        raw.read_splits(source)


def test_another_number_of_raw_graphs_is_an_error_and_leaves_nothing(
    tmp_path: Path, examples: dict[str, list[dict[str, Any]]]
) -> None:
    source = _write_raw(tmp_path / "download", examples)
    data = tmp_path / "data"
    with pytest.raises(UserError, match="the train split has 12 graphs, ogbg-molpcba has 13"):
        prepare.prepare(
            data, "full", source=source, expected=SIZES | {"train": 13}, say=lambda _: None
        )
    assert verify.listing(data) == []


@pytest.mark.parametrize("place", ["ogbg", ".", "elsewhere"])
def test_an_official_preparation_is_converted_wherever_it_lies(
    tmp_path: Path, tiny: Path, tfrecords: Path, place: str
) -> None:
    data = tmp_path / "data"
    base = tmp_path / "elsewhere" if place == "elsewhere" else data / place
    theirs = shutil.copytree(tfrecords, base / "ogbg_molpcba" / "0.1.3")
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    _quiet_prepare(data, source=base if place == "elsewhere" else None)
    assert _digests(data, "full") == _digests(tiny, "mini")
    assert verify.verify(data, "full", expected=SIZES) == []
    # The official preparation is left as it was.
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == before
    # The shards stay, and so do the serialised examples in them.
    converted = Layout.of(data, "full").find_tfds("array_record")
    assert converted is not None
    assert len(list(converted.glob("*-train.array_record-*"))) == 2


def test_a_conversion_goes_on_where_it_was_interrupted(
    tmp_path: Path, tfrecords: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = tfrecord.records
    opened: list[str] = []

    def fails_at_the_second(path: Path, crc32c: Any) -> Any:
        opened.append(path.name)
        if len(opened) == 2:
            raise KeyboardInterrupt
        return read(path, crc32c)

    monkeypatch.setattr(tfrecord, "records", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        prepare.convert(tmp_path, source=tfrecords, say=lambda _: None)
    assert Layout.of(tmp_path, "full").find_tfds("array_record") is None
    target = prepare.convert(tmp_path, source=tfrecords, say=lambda _: None)
    assert len(opened) == 5
    assert len(set(opened)) == 4
    assert sorted(path.name for path in target.parent.iterdir()) == ["0.1.3"]
    said: list[str] = []
    prepare.convert(tmp_path, source=tfrecords, say=said.append)
    assert said == [f"{target}: already converted"]


def test_an_interrupted_conversion_of_another_source_is_not_continued(
    tmp_path: Path, tfrecords: Path
) -> None:
    first = shutil.copytree(tfrecords, tmp_path / "first" / "ogbg_molpcba" / "0.1.3")
    (shard,) = first.glob("*-test.tfrecord-*")
    shard.write_bytes(_flip(shard.read_bytes(), 40))
    with pytest.raises(tfrecord.DamagedRecordError):
        prepare.convert(tmp_path / "data", source=first, say=lambda _: None)
    (staging,) = (tmp_path / "data" / "ogbg" / "ogbg_molpcba").iterdir()
    finished = sorted(staging.glob("ogbg_molpcba-*"))
    assert finished
    for path in finished:
        path.write_bytes(b"of another source")
    prepare.convert(tmp_path / "data", source=tfrecords, say=lambda _: None)
    _quiet_prepare(tmp_path / "data")
    assert verify.verify(tmp_path / "data", "full", expected=SIZES) == []


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-3], "record 4 is cut off"),
        (lambda data: data + b"\x01\x00", "record 5 is cut off"),
        (lambda data: _flip(data, 0), "record 0 has a wrong length checksum"),
        (lambda data: _flip(data, 40), "record 0 has a wrong data checksum"),
        (lambda data: data + _framed(b"one more"), "6 records, but dataset_info.json declares 5"),
    ],
)
def test_damaged_tfrecords_are_noticed(
    tmp_path: Path, tfrecords: Path, damage: Any, message: str
) -> None:
    source = shutil.copytree(tfrecords, tmp_path / "ogbg_molpcba" / "0.1.3")
    (shard,) = source.glob("*-validation.tfrecord-*")
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(UserError, match=message):
        prepare.convert(tmp_path / "data", source=source, say=lambda _: None)


def test_without_the_checksum_package_lengths_are_still_checked(
    tmp_path: Path, tfrecords: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    said: list[str] = []
    prepare.convert(tmp_path, source=tfrecords, say=said.append)
    assert "checksums of the records were not compared" in said[-1]
    (shard,) = tfrecords.glob("*-test.tfrecord-*")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(_flip(shard.read_bytes(), 0))
    with pytest.raises(tfrecord.DamagedRecordError, match="length checksum"):
        list(tfrecord.records(damaged, None))


def test_the_table_driven_checksum_is_crc32c() -> None:
    # The check value of CRC-32C is that of the digits one to nine.
    assert tfrecord._crc32c_of_length(b"123456789") == 0xE3069283


def test_a_missing_shard_or_folder_is_named(tmp_path: Path, tfrecords: Path) -> None:
    source = shutil.copytree(tfrecords, tmp_path / "ogbg_molpcba" / "0.1.3")
    (shard,) = source.glob("*-test.tfrecord-*")
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name} is missing"):
        prepare.convert(tmp_path / "data", source=source, say=lambda _: None)
    with pytest.raises(MissingDataError, match="give --source the folder"):
        prepare.convert(tmp_path / "data", source=tmp_path / "nowhere", say=lambda _: None)


def test_a_full_preparation_without_input_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"pcba.zip.*--source"):
        prepare.prepare(tmp_path, "full", say=lambda _: None)


def test_a_tiny_data_set_verifies(tiny: Path) -> None:
    assert verify.verify(tiny, "mini", expected=SIZES) == []
    (row,) = verify.listing(tiny)
    assert (row.tier, row.state, row.examples) == ("mini", "prepared", SIZES)
    assert row.bytes > 1000


def _resave(layout: Layout, change: Any) -> None:
    """Changes a split and its checksums, so that only the values are wrong."""
    graphs = packed_store.load(layout.packed("test"))
    columns = {name: np.array(getattr(graphs, name)) for name in PackedGraphs.column_names()}
    change(columns)
    stored = packed_store.save(layout.packed("test"), PackedGraphs(**columns), "test")
    manifest = json.loads(layout.manifest.read_text())
    manifest["splits"]["test"]["sha256"] = stored.sha256
    layout.manifest.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("node_features", 119, "atom feature 0 has values"),
        ("bond_features", 7, "bond feature 0 has values"),
        ("bonds", 200, "a bond points to a node that its graph does not have"),
        ("labels", 3, "labels are not 0, 1 or missing"),
    ],
)
def test_verify_finds_values_out_of_range(
    own_tiny: Path, column: str, value: int, message: str
) -> None:
    layout = Layout.of(own_tiny, "mini")

    def change(columns: dict[str, Any]) -> None:
        columns[column][0, 0] = value

    _resave(layout, change)
    problems = verify.verify(own_tiny, "mini", expected=SIZES)
    assert any(message in problem for problem in problems)
    assert any("differs from the packed columns" in problem for problem in problems)


def test_verify_finds_missing_parts_and_changed_bytes(own_tiny: Path) -> None:
    layout = Layout.of(own_tiny, "mini")
    column = layout.packed("train") / "labels.npy"
    column.write_bytes(_flip(column.read_bytes(), 500))
    (layout.packed("test") / "bonds.npy").unlink()
    (layout.packed("validation") / "packed.json").unlink()
    shutil.rmtree(layout.own_tfds)
    problems = "\n".join(verify.verify(own_tiny, "mini", expected=SIZES))
    for message in (
        "the checksum is",
        "a column cannot be read",
        "packed.json is missing",
        "the tfds data set is missing",
    ):
        assert message in problems
    assert len(problems.splitlines()) == 4


def test_verify_finds_a_wrong_number_of_graphs(tiny: Path) -> None:
    problems = verify.verify(tiny, "mini", expected=SIZES | {"test": 5})
    assert len(problems) == 1
    assert "4 graphs, expected 5" in problems[0]


def test_opening_prepared_data_imports_no_framework_and_no_preparation_package(
    tiny: Path,
) -> None:
    forbidden = ("jax", "torch", "tensorflow", "tensorflow_datasets", "rdkit", "grain", "sklearn")
    program = (
        "import sys\n"
        "from algoperf_ref.workloads.ogbg.data import load_split, training_batches\n"
        f"graphs = load_split({str(tiny)!r}, 'mini', 'train')\n"
        "batches = training_batches(graphs, data_seed=0, global_batch_size=8, num_shards=1)\n"
        "next(batches)\n"
        f"print([name for name in {forbidden!r} if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_without_tensorflow_datasets_the_error_says_what_to_install(
    own_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(Layout.of(own_tiny, "mini").root / "packed")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r'pip install "algoperf-ref\[data\]"'):
        load_split(own_tiny, "mini", "train")


def test_reading_and_writing_needs_neither_tensorflow_nor_jax(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from conformance_tests.support import molecules\n"
        "from algoperf_ref.data.ogbg import verify\n"
        f"molecules.write_tiny_ogbg({str(tmp_path)!r}, train=3, validation=2, test=2, "
        "with_tfds=True)\n"
        f"sizes = dict(train=3, validation=2, test=2)\n"
        f"print(verify.verify({str(tmp_path)!r}, 'mini', expected=sizes),\n"
        "      [name for name in ('tensorflow', 'jax', 'torch') if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[] []"
    # The libraries' own bars and notices stay off the console.
    assert result.stderr.strip() == ""
