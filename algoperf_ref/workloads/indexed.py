"""Workloads whose examples are read one by one, in a shuffled order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from algoperf_ref.data.batches import Make, evaluation_batches, training_batches
from algoperf_ref.workloads.base import BaseWorkload, Path
from spec.data_order import EVAL_TRAIN_SEED, eval_train_order


class IndexedWorkload(BaseWorkload):
    """A workload whose splits have ``len(split)`` examples and ``split.make(data_seed)``.

    The latter makes the rows of a batch (:data:`algoperf_ref.data.batches.Make`); what is random
    about an example is a function of the data seed, of its number and of its position.
    """

    @property
    def loader_threads(self) -> int:
        """Threads that make batches while the device works, one batch each."""
        return 2

    def _numpy_batches(
        self, data_seed: int, split: str, data_dir: Path, global_batch_size: int, start_step: int
    ) -> Iterator[Any]:
        examples = self._split(data_dir, split)
        shared: dict[str, Any] = {
            "global_batch_size": global_batch_size,
            "part": self._part(),
            "workers": self.loader_threads,
        }
        if split == "train":
            return training_batches(
                len(examples),
                self._make(examples, data_seed, global_batch_size),
                data_seed=data_seed,
                start_step=start_step,
                **shared,
            )
        order = range(len(examples))
        if split == "eval_train":
            order = eval_train_order(len(examples), self.num_eval_train_examples)
        make = self._make(examples, EVAL_TRAIN_SEED, global_batch_size)
        return evaluation_batches(order, make, **shared)

    def _make(self, examples: Any, data_seed: int, global_batch_size: int) -> Make:
        """Returns what makes the rows of the batches of a split."""
        del global_batch_size  # for workloads that mix the examples of a batch
        make: Make = examples.make(data_seed)
        return make
