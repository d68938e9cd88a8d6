"""The mini tier's molecules: features with known answers, tasks, splits, determinism."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from algoperf_ref.data import packed_store
from algoperf_ref.data.ogbg import mini, molecules, prepare, tasks, verify
from algoperf_ref.data.ogbg.layout import SPLITS, Layout
from algoperf_ref.data.ogbg.task_names import TASK_NAMES
from algoperf_ref.data.packed import PackedGraphs
from algoperf_ref.errors import UserError

rdkit_chem = pytest.importorskip("rdkit.Chem")

SIZES = {"train": 200, "validation": 50, "test": 50}


@pytest.fixture(scope="module")
def some_smiles() -> list[str]:
    """300 of the real molecules, spread over both files."""
    every = itertools.islice(molecules.shipped_smiles(), 0, None, 48)
    return molecules.distinct_smiles(every)[: sum(SIZES.values())]


@pytest.fixture(scope="module")
def some_mini(some_smiles: list[str]) -> dict[str, PackedGraphs]:
    return mini.build(SIZES, smiles=some_smiles, processes=1)


def _features(smiles: str) -> tuple[list[list[int]], list[list[int]]]:
    molecule = rdkit_chem.MolFromSmiles(smiles)
    return (
        [molecules.atom_features(atom) for atom in molecule.GetAtoms()],
        [molecules.bond_features(bond) for bond in molecule.GetBonds()],
    )


def test_features_equal_the_known_answers_of_the_open_graph_benchmark() -> None:
    # Published with OGB's featuriser.
    atoms, bonds = _features("Cl[C@H](/C=C/C)Br")
    assert atoms[1] == [5, 2, 4, 5, 1, 0, 2, 0, 0]
    assert bonds[2] == [1, 2, 0]


@pytest.mark.parametrize(
    ("smiles", "atom", "feature", "value"),
    [
        ("[H][H]", 0, 0, 0),  # hydrogen is the first element
        ("*C", 0, 0, 118),  # no element: the catch-all
        ("C[C@H](N)O", 1, 1, 2),  # one handedness, and the other
        ("C[C@@H](N)O", 1, 1, 1),
        ("C", 0, 2, 4),  # hydrogens count in the degree
        ("[NH4+]", 0, 3, 6),
        ("[Cl-]", 0, 3, 4),
        ("C", 0, 4, 4),
        ("[CH3]", 0, 5, 1),
        ("C#C", 0, 6, 0),
        ("F[S](F)(F)(F)(F)F", 1, 6, 4),
        ("c1ccccc1", 0, 7, 1),
        ("C1CC1", 0, 8, 1),
        ("CC", 0, 8, 0),
    ],
)
def test_each_atom_feature_tells_its_property(
    smiles: str, atom: int, feature: int, value: int
) -> None:
    atoms, _ = _features(smiles)
    assert atoms[atom][feature] == value


@pytest.mark.parametrize(
    ("smiles", "bond", "expected"),
    [
        ("CC", 0, [0, 0, 0]),
        ("C=C", 0, [1, 0, 0]),
        ("C#N", 0, [2, 0, 0]),
        ("c1ccccc1", 0, [3, 0, 1]),
        ("F/C=C/F", 1, [1, 2, 0]),
        ("F/C=C\\F", 1, [1, 1, 0]),
        ("C=CC=C", 1, [0, 0, 1]),
    ],
)
def test_each_bond_feature_tells_its_property(smiles: str, bond: int, expected: list[int]) -> None:
    _, bonds = _features(smiles)
    assert bonds[bond] == expected


def test_a_molecule_becomes_a_graph_with_every_bond_once() -> None:
    graph = molecules.graph(rdkit_chem.MolFromSmiles("OC=O"))
    assert graph["num_nodes"].tolist() == [3]
    assert graph["num_edges"].tolist() == [2]
    assert graph["edge_index"].tolist() == [[0, 1], [1, 2]]
    assert graph["node_feat"].shape == (3, 9)
    assert graph["edge_feat"].shape == (2, 3)


def test_unreadable_bondless_and_repeated_molecules_are_left_out() -> None:
    assert molecules.distinct_smiles(iter(["CO", "OC", "not a molecule", "[Na+]", "CC"])) == [
        "CO",
        "CC",
    ]


def test_tasks_are_the_rarest_usable_candidates_without_copies() -> None:
    # Of 1,000 molecules: too rare, too frequent, two copies, and three that can be told apart.
    counts = {"rare": 4, "frequent": 501, "a": 30, "copy of a": 30, "b": 20, "c": 10}
    positives: list[set[str]] = [set() for _ in range(1000)]
    for name, count in counts.items():
        for row in range(count):
            positives[row].add(name)
    names = tasks.choose_tasks(positives, 3)
    assert names == ["c", "b", "a"]
    assert tasks.label_columns([{"b"}, set(), {"a", "c"}], names).tolist() == [
        [False, True, False],
        [False, False, False],
        [True, False, True],
    ]
    with pytest.raises(ValueError, match="only 3 of 4 tasks"):
        tasks.choose_tasks(positives, 4)


def test_candidates_hold_for_molecules_that_show_them() -> None:
    candidates = tasks.Candidates(None)
    phenol = candidates.true_of(rdkit_chem.MolFromSmiles("Oc1ccccc1"))
    assert "fr_phenol" in phenol
    assert "donors>3" not in phenol
    glucose = candidates.true_of(rdkit_chem.MolFromSmiles("OCC1OC(O)C(O)C(O)C1O"))
    assert {"donors>3", "TPSA>110"} <= glucose
    assert "fr_phenol" not in glucose


def test_the_tasks_are_computed_alone_as_among_all_candidates(some_smiles: list[str]) -> None:
    every, ours = tasks.Candidates(None), tasks.mini_candidates()
    for smiles in some_smiles[::5]:
        molecule = rdkit_chem.MolFromSmiles(smiles)
        assert ours.true_of(molecule) == every.true_of(molecule) & set(TASK_NAMES)
    assert len(set(TASK_NAMES)) == len(TASK_NAMES) == 128


def test_a_task_that_rdkit_does_not_know_names_the_mend() -> None:
    with pytest.raises(UserError, match="does not know the task 'BRENK:unheard of'"):
        tasks.Candidates(["BRENK:unheard of", "fr_phenol"])


@pytest.mark.clause("WORK-12")
def test_the_splits_have_their_sizes_and_share_no_molecule(
    some_mini: dict[str, PackedGraphs], some_smiles: list[str]
) -> None:
    assert {split: len(graphs) for split, graphs in some_mini.items()} == SIZES
    shapes = [
        (example["node_feat"].tobytes(), example["edge_index"].tobytes())
        for graphs in some_mini.values()
        for example in graphs.examples()
    ]
    every = [molecules.graph(rdkit_chem.MolFromSmiles(text)) for text in some_smiles]
    expected = [(graph["node_feat"].tobytes(), graph["edge_index"].tobytes()) for graph in every]
    assert sorted(shapes) == sorted(expected)


def test_half_of_the_labels_are_hidden_and_the_rest_are_zero_or_one(
    some_mini: dict[str, PackedGraphs],
) -> None:
    labels = some_mini["train"].labels
    assert labels.shape == (SIZES["train"], 128)
    assert np.isin(labels, (-1, 0, 1)).all()
    assert np.mean(labels == -1) == pytest.approx(0.5, abs=0.02)
    assert 0 < np.mean(labels[labels >= 0]) < 0.1


def test_the_number_of_processes_does_not_change_the_data(
    some_mini: dict[str, PackedGraphs], some_smiles: list[str]
) -> None:
    steps: list[tuple[int, int]] = []
    again = mini.build(
        SIZES,
        smiles=some_smiles,
        processes=2,
        progress=lambda done, total: steps.append((done, total)),
    )
    for split in SPLITS:
        assert packed_store.digest(again[split]) == packed_store.digest(some_mini[split])
    assert steps[0] == (0, 300)
    assert steps[-1] == (300, 300)


def test_another_number_of_molecules_than_expected_names_the_mend(some_smiles: list[str]) -> None:
    with pytest.raises(UserError, match=r"gives 299 distinct molecules.*install the rdkit version"):
        mini.build(SIZES, smiles=some_smiles[1:], processes=1)


def test_without_rdkit_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(UserError, match=r'pip install "algoperf-ref\[data\]"'):
        mini.build(SIZES)


@pytest.mark.clause("WORK-12")
def test_a_mini_preparation_writes_verifies_and_resumes(
    tmp_path: Path, some_smiles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow_datasets")
    layout = Layout.of(tmp_path, "mini")
    monkeypatch.setattr(molecules, "shipped_smiles", lambda: iter(some_smiles))
    write_tfds = prepare.write_tfds

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    # Interrupted after the long part: nothing counts as prepared, but nothing is computed again.
    monkeypatch.setattr(prepare, "write_tfds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(tmp_path, "mini", expected=SIZES, processes=1, say=lambda _: None)
    assert not layout.manifest.exists()
    assert [row.state for row in verify.listing(tmp_path)] == ["not finished, run prepare"]
    monkeypatch.setattr(prepare, "write_tfds", write_tfds)
    build = mini.build
    monkeypatch.setattr(mini, "build", None)
    said: list[str] = []
    prepare.prepare(tmp_path, "mini", expected=SIZES, say=said.append)
    assert said == ["writing the tfds data set", f"{layout.root}: ready"]
    assert verify.verify(tmp_path, "mini", expected=SIZES) == []
    prepare.prepare(tmp_path, "mini", expected=SIZES, say=said.append)
    assert said[-1] == f"{layout.root}: already prepared"

    manifest = json.loads(layout.manifest.read_text())
    assert manifest["splits"]["train"]["num_graphs"] == SIZES["train"]
    assert manifest["packages"]["rdkit"] == molecules.rdkit_version()
    assert "not measurements" in manifest["description"]
    assert len(manifest["tasks"]) == 128
    assert not list(layout.root.rglob("*partial*"))

    # With other sizes it is another data set, and is made anew.
    monkeypatch.setattr(mini, "build", build)
    others = {"train": 220, "validation": 40, "test": 40}
    prepare.prepare(tmp_path, "mini", expected=others, processes=1, say=lambda _: None)
    assert verify.verify(tmp_path, "mini", expected=others) == []


@pytest.mark.slow
@pytest.mark.clause("WORK-12")
def test_the_whole_mini_tier_has_the_pinned_checksums() -> None:
    expected = prepare.expected_counts("mini")
    made = mini.build(expected)
    (pinned,) = mini.PINNED_SHA256.values()
    assert {split: packed_store.digest(graphs) for split, graphs in made.items()} == pinned
    for graphs in made.values():
        # Average precision needs a positive and a negative label of every task.
        assert (graphs.labels == 1).any(axis=0).sum() >= 120
        assert (graphs.labels == 0).any(axis=0).all()


@pytest.mark.slow
def test_the_tasks_are_those_that_the_rule_chooses() -> None:
    candidates = tasks.Candidates(None)
    chosen = molecules.distinct_smiles(molecules.shipped_smiles())
    positives = [candidates.true_of(rdkit_chem.MolFromSmiles(smiles)) for smiles in chosen]
    assert tasks.choose_tasks(positives, len(TASK_NAMES)) == list(TASK_NAMES)


def test_the_pinned_checksums_belong_to_the_specified_sizes() -> None:
    expected = prepare.expected_counts("mini")
    (source,) = mini.PINNED_SHA256
    assert source.endswith(", ".join(f"{split} {expected[split]}" for split in SPLITS))
