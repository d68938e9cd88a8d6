"""Sizes of the vision transformer, read from a workload's row, and its position embedding."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from spec.workloads import WorkloadSpec

NUM_COLOURS = 3
_LONGEST_PERIOD = 10_000
"""Source: Workload facts (imagenet_vit), 2."""


@dataclass(frozen=True)
class VitSizes:
    """What tells one vision transformer from another; the defaults are the variant S/16.

    Attributes:
      num_classes: width of the outputs.
      use_glu: the feed-forward blocks have a gate, made of the activated hidden layer.
      use_post_layer_norm: layer norm behind each sum instead of at the start of each branch, and
        none behind the last block.
      use_map: attention pooling instead of the mean over tokens.
      patch_size: side of the square patches in pixels.
      width: width of a token; a multiple of 4 and of ``num_heads``.
      depth: number of encoder blocks.
      num_heads: heads of each attention layer.
      mlp_dim: hidden width of the feed-forward blocks.

    Raises:
      ValueError: sizes that do not fit each other.
    """

    num_classes: int
    use_glu: bool = False
    use_post_layer_norm: bool = False
    use_map: bool = False
    patch_size: int = 16
    width: int = 384
    depth: int = 12
    num_heads: int = 6
    mlp_dim: int = 1536

    def __post_init__(self) -> None:
        numbers = (self.num_classes, self.patch_size, self.depth, self.num_heads, self.mlp_dim)
        if min(numbers) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        # Less than two frequencies per axis would leave their spacing undefined.
        if self.width < 8 or self.width % 4 or self.width % self.num_heads:
            raise ValueError(
                "width must be a multiple of 4, at least 8, and a multiple of num_heads; got "
                f"width {self.width} and num_heads {self.num_heads}"
            )

    @classmethod
    def of(cls, spec: WorkloadSpec) -> VitSizes:
        """Reads the sizes of a workload; what its row does not say is that of S/16."""
        config = spec.model_config
        optional = ("patch_size", "width", "depth", "num_heads", "mlp_dim")
        return cls(
            num_classes=config["num_classes"],
            use_glu=config["use_glu"],
            use_post_layer_norm=config["use_post_layer_norm"],
            use_map=config["use_map"],
            **{name: config[name] for name in optional if name in config},
        )

    def grid(self, *image: int) -> tuple[int, int]:
        """Returns the number of rows and of columns of patches.

        Args:
          *image: height and width in pixels, and number of channels, of the images of a batch.

        Raises:
          ValueError: images that cannot be cut into patches.
        """
        if len(image) != 3 or image[2] != NUM_COLOURS:
            raise ValueError(
                f"inputs must be a batch of images with {NUM_COLOURS} channels; one of them has "
                f"height, width and channels {image}"
            )
        height, width, _ = image
        rows, columns = height // self.patch_size, width // self.patch_size
        if not rows or not columns or height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"images of {height} x {width} pixels cannot be cut into patches of "
                f"{self.patch_size} x {self.patch_size}"
            )
        return rows, columns


@functools.lru_cache(maxsize=32)
def position_embedding(rows: int, columns: int, width: int) -> np.ndarray:
    """Returns what is added to the tokens: sines and cosines of their places.

    Frequencies fall geometrically from 1 to 1 / 10,000 over a quarter of the width. Source:
    Workload facts (imagenet_vit), 2.

    Args:
      rows, columns: size of the grid of patches.
      width: width of a token; a multiple of 4, at least 8.

    Returns:
      Read-only float32 ``[rows * columns, width]``, row by row: the sines of x, its cosines, the
      sines of y and its cosines.
    """
    frequencies = float(_LONGEST_PERIOD) ** -np.linspace(0.0, 1.0, width // 4)
    y, x = (place.reshape(-1, 1) * frequencies for place in np.mgrid[:rows, :columns])
    embedding = np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], 1).astype(np.float32)
    embedding.flags.writeable = False
    return embedding
