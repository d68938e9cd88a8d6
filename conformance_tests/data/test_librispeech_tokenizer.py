"""The tokenizer of the speech workloads: training, special pieces, texts and pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from algoperf_ref.data.librispeech import tokenizer
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import MissingDataError, UserError
from conformance_tests.support import utterances

TEXTS = utterances.sentences(300)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "spm_model.vocab"
    tokenizer.train(TEXTS, path, pieces=64, hard_limit=False)
    return path


def test_a_full_tokenizer_has_1024_pieces(tmp_path: Path) -> None:
    tokenizer.train(utterances.long_sentences(60), tmp_path / "model", pieces=1024)
    model = Tokenizer(tmp_path / "model")
    assert len(model) == tokenizer.ASKED_PIECES["full"] == 1024
    tokenizer.check_pieces(model, "full")
    with pytest.raises(UserError, match="has 1024 pieces, the mini tier's tokenizer at most 64"):
        tokenizer.check_pieces(model, "mini")


def test_training_twice_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    tokenizer.train(iter(TEXTS), tmp_path / "again", pieces=64, hard_limit=False)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert Tokenizer(tmp_path / "again").digest == Tokenizer(path).digest


def test_the_model_is_the_one_that_the_fact_sheet_describes(path: Path) -> None:
    """Workload facts (librispeech_data), 1: unigram, all characters, three special pieces."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    settings = model.trainer_spec
    assert settings.model_type == settings.UNIGRAM
    assert settings.vocab_size == len(model.pieces) == len(Tokenizer(path))
    assert settings.character_coverage == 1.0
    assert [piece.piece for piece in model.pieces[:3]] == ["<unk>", "<s>", "</s>"]
    assert settings.pad_id == -1
    assert not settings.input  # no path of this machine gets into the file


def test_few_words_make_fewer_pieces_than_asked_for(path: Path, tmp_path: Path) -> None:
    """Workload facts (mini_tier), 3."""
    assert len(Tokenizer(path)) < 64
    tokenizer.check_pieces(Tokenizer(path), "mini")
    with pytest.raises(UserError, match=r"no tokenizer of 64 pieces .*Vocabulary size too high"):
        tokenizer.train(TEXTS, tmp_path / "model", pieces=64)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"pieces, the full tier's tokenizer 1024: put that there"):
        tokenizer.check_pieces(Tokenizer(path), "full")


def test_training_stops_after_ten_million_characters() -> None:
    assert tokenizer.MAX_CHARACTERS == 10_000_000
    assert list(tokenizer._first(["ABC", "DE", "FG", "H"], 5)) == ["ABC", "DE"]
    assert list(tokenizer._first(["ABC"], 5)) == ["ABC"]


def test_texts_survive_being_pieces(path: Path) -> None:
    model = Tokenizer(path)
    targets = [model.encode(text) for text in TEXTS]
    assert {target[-1] for target in targets} == {2}
    assert all(1 not in target and 0 not in target for target in targets)
    lengths = np.array([len(target) for target in targets])
    ids = np.zeros((len(targets), lengths.max()), np.int32)
    for row, target in zip(ids, targets, strict=True):
        row[: len(target)] = target
    assert model.decode(ids, lengths) == TEXTS
    assert model.decode(ids.astype(np.float32), lengths.astype(np.float32)) == TEXTS
    # Without the end the text is the same.
    assert model.decode(ids, lengths - 1) == TEXTS


def test_odd_pieces_are_decoded_too(path: Path) -> None:
    model = Tokenizer(path)
    go = model.encode("GO")
    assert model.decode([[*go, 1, 2, 2]], [len(go) + 3]) == ["GO"]
    assert model.decode([go], [0]) == [""]
    assert model.decode(np.zeros((0, 5), np.int32), np.zeros(0)) == []
    # A model may have more outputs than there are pieces.
    unknown = model.decode([[0]], [1])
    assert "\u2047" in unknown[0]
    assert model.decode([[len(model)], [999_999], [-1]], [1, 1, 1]) == unknown * 3
    with pytest.raises(ValueError, match="argument 2 is longer"):
        model.decode([go], [1, 2])


def test_unknown_characters_are_found(path: Path) -> None:
    model = Tokenizer(path)
    assert model.unknown_characters("GO TO ÉÜ É") == "ÉÜ"
    assert model.unknown_characters("GO HOME") == ""
    assert 0 in model.encode("GO É")


def test_what_is_no_tokenizer_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"spm_model\.vocab, the tokenizer, is missing"):
        Tokenizer(tmp_path / "spm_model.vocab")
    for content in (b"", b"nonsense", path.read_bytes()[:1000]):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(UserError, match="broken is no SentencePiece model"):
            Tokenizer(tmp_path / "broken")
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        vocab_size=40,
        pad_id=0,
        unk_id=3,
        minloglevel=2,
    )
    (tmp_path / "foreign").write_bytes(model.getvalue())
    with pytest.raises(UserError, match=r"foreign has the unknown, .* \(3, 1, 2\), .*something"):
        Tokenizer(tmp_path / "foreign")


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([5, 2], None),
        ([0, 2], None),
        ([2], None),
        ([5], "does not end with the last piece"),
        ([], "does not end with the last piece"),
        ([-1, 2], "has a piece outside of the"),
        ([99, 2], "has a piece outside of the"),
    ],
)
def test_targets_are_checked(path: Path, pieces: list[int], problem: str | None) -> None:
    found = tokenizer.problem_of(np.array(pieces, np.int32), Tokenizer(path))
    assert (found is None) if problem is None else (found or "").startswith(problem)
