"""The translation workload and its variants, for both frameworks and both tiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from algoperf_ref.data.wmt import split as sentences
from algoperf_ref.data.wmt.tokenizer import Tokenizer
from algoperf_ref.frameworks.base import Key
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.base import BaseWorkload, Path
from algoperf_ref.workloads.wmt import bleu
from algoperf_ref.workloads.wmt.sizes import WmtSizes
from spec.data_order import eval_train_order

_LOADER_THREADS = 2


class WmtWorkload(BaseWorkload):
    """German sentences and their English translations.

    A batch has ``inputs`` and ``targets``, ids of pieces, integers ``[rows, length]``, and
    ``weights``, float32 ``[rows, length]``, 1 where there is a target. The rows of training batches
    hold several sentences each, and say which with ``<inputs or targets>_position`` and
    ``_segmentation``. Logits are ``[rows, length, vocabulary]``. Source: Workload facts (wmt).
    """

    twins = "algoperf_ref.workloads.wmt.transformer_{}"
    sizes = WmtSizes
    torch_compile_loss = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._decoding = load_twin("algoperf_ref.workloads.wmt.translating_{}", self.framework)
        self._tokenizer: Tokenizer | None = None

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Softmax cross-entropy of every token; ``per_example`` is ``[rows, length]``.

        Raises:
          ValueError: shapes that do not fit.
        """
        result: dict[str, Any] = self._losses.token_cross_entropy(
            label_batch, logits_batch, mask_batch, label_smoothing
        )
        return result

    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Returns losses and hits of every token, and translations by beam search."""
        logits = self._eval_logits(params, batch, model_state, rng)
        loss = self.loss_fn(batch["targets"], logits, batch["weights"])
        return {
            "loss": loss["per_example"],
            "accuracy": logits.argmax(-1) == batch["targets"],
            "weights": batch["weights"],
            "targets": batch["targets"],
            "translations": self._decoding.translate(self._sizes, params, batch["inputs"]),
        }

    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> dict[str, Any]:
        """Targets that are the inputs' numbers plus one, of random lengths."""
        random = np.random.RandomState(seed)
        length = self._sizes.max_len
        ends = random.randint(length // 2, length, global_batch_size)[:, None]
        places = np.arange(length)
        inputs = random.randint(3, self._sizes.vocab_size - 1, (global_batch_size, length))
        targets = inputs + 1
        for ids in (inputs, targets):
            ids[:] = np.where(places < ends, ids, np.where(places == ends, sentences.END, 0))
        return {
            "inputs": inputs.astype(np.int32),
            "targets": targets.astype(np.int32),
            "weights": (targets > 0).astype(np.float32),
        }

    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        """Means over the tokens, and BLEU of the translations against the targets' text."""
        if self._tokenizer is None:
            raise RuntimeError("no split was opened")
        sums = {"loss": 0.0, "accuracy": 0.0}
        tokens = 0.0
        translations: list[str] = []
        references: list[str] = []
        for batch in outputs:
            weights = np.asarray(batch["weights"], np.float64)
            tokens += float(weights.sum())
            for name in sums:
                sums[name] += float((np.asarray(batch[name], np.float64) * weights).sum())
            # Rows of padding have no first token.
            rows = np.flatnonzero(weights[:, 0])
            translations += self._tokenizer.decode(batch["translations"][rows])
            references += self._tokenizer.decode(batch["targets"][rows])
        return {
            **{name: value / max(tokens, 1.0) for name, value in sums.items()},
            "bleu": bleu.corpus_bleu(translations, references),
        }

    def _numpy_batches(
        self, data_seed: int, split: str, data_dir: Path, global_batch_size: int, start_step: int
    ) -> Iterator[Any]:
        pairs = self._split(data_dir, split)
        shared: dict[str, Any] = {
            "global_batch_size": global_batch_size,
            "part": self._part(),
            "workers": _LOADER_THREADS,
        }
        if split == "train":
            return sentences.training_batches(
                pairs, data_seed=data_seed, start_step=start_step, **shared
            )
        order = range(len(pairs))
        if split == "eval_train":
            order = eval_train_order(len(pairs), self.num_eval_train_examples)
        return sentences.evaluation_batches(pairs, order, **shared)

    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> sentences.WmtSplit:
        """Maps the tokens of a split into memory; see ``BaseWorkload``."""
        pairs = sentences.open_split(
            data_dir,
            self.tier.value,
            split,
            expected_pairs=expected_examples,
            max_length=self._sizes.max_len,
            vocabulary=self._sizes.vocab_size,
        )
        self._tokenizer = pairs.tokenizer
        return pairs

    def _model_inputs(self, batch: Any) -> Any:
        return {name: array for name, array in batch.items() if name != "weights"}
