"""Sizes of the recommendation model, read from a workload's row of the specification."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spec.workloads import WorkloadSpec

NUM_CATEGORICAL_FEATURES = 26
"""Columns of ids behind the dense columns. Source: Workload facts (criteo1tb), 1."""
NUM_EMBEDDING_CHUNKS = 4
"""Parameters that PyTorch keeps the table in. Source: Workload facts (criteo1tb), 2d."""


@dataclass(frozen=True)
class DlrmSizes:
    """What tells one recommendation model from another.

    Attributes:
      vocab_size: rows of the one table of embeddings; ids are taken modulo this.
      num_dense_features: columns of numbers before the columns of ids.
      embed_dim: width of an embedding.
      mlp_bottom_dims: widths of the layers on the dense columns.
      mlp_top_dims: widths of the layers on everything; the last one is the logits'.
      use_layer_norm: layer norm after each hidden layer and on the embeddings; the residual
        model ignores it.
      use_resnet: the residual model, which has no dot interaction.
      embedding_init_multiplier: bound of the first embeddings; None is ``1 / sqrt(vocab_size)``.
        The residual model ignores it.

    Raises:
      ValueError: widths that do not fit each other, or a table that cannot be cut into chunks.
    """

    vocab_size: int
    num_dense_features: int
    embed_dim: int
    mlp_bottom_dims: tuple[int, ...]
    mlp_top_dims: tuple[int, ...]
    use_layer_norm: bool = False
    use_resnet: bool = False
    embedding_init_multiplier: float | None = None

    def __post_init__(self) -> None:
        if self.vocab_size <= 0 or self.vocab_size % NUM_EMBEDDING_CHUNKS:
            raise ValueError(
                f"vocab_size must be a multiple of {NUM_EMBEDDING_CHUNKS}, got {self.vocab_size}"
            )
        if not self.mlp_bottom_dims or len(self.mlp_top_dims) < 2:
            raise ValueError(
                "mlp_bottom_dims needs one width or more and mlp_top_dims two or more, got "
                f"{self.mlp_bottom_dims} and {self.mlp_top_dims}"
            )
        if self.use_resnet:
            if len(set(self.mlp_bottom_dims)) > 1 or len(set(self.mlp_top_dims[:-1])) > 1:
                raise ValueError(
                    "a residual model needs one width in mlp_bottom_dims and one in mlp_top_dims "
                    f"before the last, got {self.mlp_bottom_dims} and {self.mlp_top_dims}"
                )
        elif self.mlp_bottom_dims[-1] != self.embed_dim:
            raise ValueError(
                f"the last of mlp_bottom_dims must be embed_dim, {self.embed_dim}: the dot "
                f"interaction puts them together; got {self.mlp_bottom_dims}"
            )

    @classmethod
    def of(cls, spec: WorkloadSpec) -> DlrmSizes:
        """Reads the sizes of a workload."""
        config = spec.model_config
        return cls(
            vocab_size=config["vocab_size"],
            num_dense_features=config["num_dense_features"],
            embed_dim=config["embed_dim"],
            mlp_bottom_dims=tuple(config["mlp_bottom_dims"]),
            mlp_top_dims=tuple(config["mlp_top_dims"]),
            use_layer_norm=config["use_layer_norm"],
            use_resnet=config["use_resnet"],
            embedding_init_multiplier=config["embedding_init_multiplier"],
        )

    @property
    def num_columns(self) -> int:
        """Width of the inputs."""
        return self.num_dense_features + NUM_CATEGORICAL_FEATURES

    @property
    def top_features(self) -> int:
        """Width of what the first top layer reads.

        The products of all pairs of ``1 + 26`` vectors, each vector with itself included, or the
        embeddings themselves; the bottom layers' output besides.
        """
        bottom = self.mlp_bottom_dims[-1]
        if self.use_resnet:
            return bottom + NUM_CATEGORICAL_FEATURES * self.embed_dim
        vectors = 1 + NUM_CATEGORICAL_FEATURES
        return bottom + vectors * (vectors + 1) // 2

    @property
    def dropout_layer(self) -> int:
        """Number of the top layer behind which dropout stands: the last hidden one."""
        return len(self.mlp_top_dims) - 2

    @property
    def embedding_bound(self) -> float:
        """First embeddings are uniform between 0 and this. Source: Workload facts, 2c."""
        if self.use_resnet or self.embedding_init_multiplier is None:
            return 1 / math.sqrt(self.vocab_size)
        return self.embedding_init_multiplier
