"""The two speech workloads and their variants, for both frameworks and both tiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_ref.data.librispeech import split as utterances
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.base import Path
from algoperf_ref.workloads.indexed import IndexedWorkload
from algoperf_ref.workloads.librispeech.conformer_sizes import ConformerSizes
from algoperf_ref.workloads.librispeech.deepspeech_sizes import DeepspeechSizes
from algoperf_ref.workloads.librispeech.word_errors import word_errors

MAX_AUDIO_LENGTH = 320_000
"""Samples; 20 seconds. Source: Workload facts (librispeech_data), 2."""
MAX_TARGET_LENGTH = 256
"""Pieces with the end. Source: Workload facts (librispeech_data), 2."""


class LibrispeechWorkload(IndexedWorkload):
    """Read sentences and what was said; what the two models have in common.

    A batch has ``inputs``, a pair of audio, float32 ``[rows, samples]``, and its paddings, and
    ``targets``, a pair of ids of pieces, integers ``[rows, length]``, and their paddings; a padding
    is float32, 1 behind the end. Evaluation batches have ``weights`` ``[rows]``. Logits are a pair
    too: ``[rows, frames, pieces]`` and paddings. Source: Workload facts (librispeech_data).
    """

    torch_compile_model = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ctc = load_twin("algoperf_ref.frameworks.{}_ctc", self.framework)
        self._decoding = load_twin("algoperf_ref.workloads.librispeech.greedy_{}", self.framework)
        self._tokenizer: Tokenizer | None = None

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Connectionist temporal classification; ``per_example`` is ``[rows]``.

        Args:
          label_batch: ids and their paddings.
          logits_batch: logits and their paddings.
          mask_batch: None, or which rows count, ``[rows]``.
          label_smoothing: has no effect: there is no label for a frame.

        Returns:
          As every loss; ``n_valid_examples`` is the number of target pieces.

        Raises:
          ValueError: shapes that do not fit.
        """
        del label_smoothing
        result: dict[str, Any] = self._ctc.ctc_loss(label_batch, logits_batch, mask_batch)
        return result

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns losses and the decoded and the right pieces of every row."""
        logits = self._eval_logits(params, batch, model_state, rng)
        loss = self.loss_fn(batch["targets"], logits, batch["weights"])
        ids, paddings = self._decoding.greedy(*logits)
        targets, target_paddings = batch["targets"]
        return {
            "loss": loss["per_example"],
            "ids": ids,
            "lengths": (1 - paddings).sum(1),
            "targets": targets,
            "target_lengths": (1 - target_paddings).sum(1),
            "weights": batch["weights"],
        }

    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> dict[str, Any]:
        """Tones, one for each piece of a random target."""
        random = np.random.RandomState(seed)
        samples, length = self._max_audio_length, self._max_target_length
        pieces = self.spec.model_config["num_outputs"]
        # A frame of logits is about 640 samples; every piece gets three of them.
        most = max(1, min(length, samples // 2_000))
        lengths = random.randint((most + 1) // 2, most + 1, global_batch_size)
        targets = random.randint(1, pieces, (global_batch_size, length)).astype(np.int32)
        target_paddings = (np.arange(length) >= lengths[:, None]).astype(np.float32)
        targets[target_paddings > 0] = 0
        place = np.minimum(np.arange(samples) * most // samples, length - 1)
        hertz = 200 + 3_000 * targets[:, place] / pieces
        audio = 3_000 * np.sin(2 * np.pi * hertz * np.arange(samples) / utterances.SAMPLE_RATE)
        paddings = (place >= lengths[:, None]).astype(np.float32)
        audio += 30 * random.randn(global_batch_size, samples)
        return {
            "inputs": ((audio * (1 - paddings)).astype(np.float32), paddings),
            "targets": (targets, target_paddings),
            "weights": np.ones(global_batch_size, np.float32),
        }

    def _numpy_batches(
        self, data_seed: int, split: str, data_dir: Path, global_batch_size: int, start_step: int
    ) -> Iterator[Any]:
        flat = super()._numpy_batches(data_seed, split, data_dir, global_batch_size, start_step)
        return map(utterances.nested, flat)

    def _open_split(
        self, data_dir: Path, split: str, expected_examples: int
    ) -> utterances.LibrispeechSplit:
        """Opens the utterances of a split; see ``BaseWorkload``."""
        opened = utterances.open_split(
            data_dir,
            self.tier.value,
            split,
            expected_examples=expected_examples,
            max_audio_length=self._max_audio_length,
            max_target_length=self._max_target_length,
        )
        self._tokenizer = opened.tokenizer
        return opened

    @property
    def _max_audio_length(self) -> int:
        samples: int = self.spec.model_config.get("max_audio_length", MAX_AUDIO_LENGTH)
        return samples

    @property
    def _max_target_length(self) -> int:
        pieces: int = self.spec.model_config.get("max_target_length", MAX_TARGET_LENGTH)
        return pieces

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        """Sums over the split; word errors are counted on the host."""
        if self._tokenizer is None:
            raise RuntimeError("no split was opened")
        loss = pieces = 0.0
        counts = np.zeros(4, np.int64)
        for batch in outputs:
            rows = np.flatnonzero(batch["weights"])
            loss += float(batch["loss"][rows].sum(dtype=np.float64))
            pieces += float(batch["target_lengths"][rows].sum(dtype=np.float64))
            said = self._tokenizer.decode(batch["targets"][rows], batch["target_lengths"][rows])
            heard = self._tokenizer.decode(batch["ids"][rows], batch["lengths"][rows])
            counts += np.array(word_errors(heard, said))
        errors, words, plain_errors, plain_words = counts.tolist()
        return {
            "ctc_loss": loss / max(pieces, 1.0),
            "wer": errors / max(words, 1),
            "wer_plain": plain_errors / max(plain_words, 1),
        }


class ConformerWorkload(LibrispeechWorkload):
    """The Conformer and its variants. Source: Workload facts (librispeech_conformer)."""

    twins = "algoperf_ref.workloads.librispeech.conformer_{}"
    sizes = ConformerSizes


class DeepspeechWorkload(LibrispeechWorkload):
    """DeepSpeech and its variants. Source: Workload facts (librispeech_deepspeech)."""

    twins = "algoperf_ref.workloads.librispeech.deepspeech_{}"
    sizes = DeepspeechSizes
    torch_compile_loss = True
