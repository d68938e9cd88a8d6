"""Sizes of the U-Net, read from a workload's row of the specification."""

from __future__ import annotations

from dataclasses import dataclass

from spec.workloads import WorkloadSpec

KERNEL_SIZE = 3
POOL_SIZE = 2
LAYERS_PER_BLOCK = 2
"""The same in all variants. Source: Workload facts (fastmri), 2."""


@dataclass(frozen=True)
class UnetSizes:
    """What tells one U-Net from another.

    Attributes:
      num_pool_layers: how often the image is halved and doubled again.
      num_channels: channels of the first block; each halving doubles them.
      use_tanh: tanh instead of the leaky rectifier.
      use_layer_norm: layer norm instead of instance norm in the convolution blocks. Behind the
        transposed convolutions instance norm stays, as in the official code; the paper
        swaps it everywhere (Decisions, 22).
    """

    num_pool_layers: int
    num_channels: int
    use_tanh: bool
    use_layer_norm: bool

    @classmethod
    def of(cls, spec: WorkloadSpec) -> UnetSizes:
        """Reads the sizes of a workload."""
        config = spec.model_config
        return cls(
            num_pool_layers=config["num_pool_layers"],
            num_channels=config["num_channels"],
            use_tanh=config["use_tanh"],
            use_layer_norm=config["use_layer_norm"],
        )

    @property
    def activation(self) -> str:
        """Name of the activation function."""
        return "tanh" if self.use_tanh else "leaky_relu"

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the blocks on the way down; the last one is the bottom block's."""
        return tuple(self.num_channels * 2**level for level in range(self.num_pool_layers + 1))

    @property
    def smallest_image(self) -> int:
        """Side of the smallest square image that the network accepts, in pixels."""
        return POOL_SIZE ** (self.num_pool_layers + 1)

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Refuses inputs that the network cannot halve often enough.

        Raises:
          ValueError: ``shape`` is not of rank 3, or halving leaves no pixel, or one pixel, whose
            instance norm would be 0 whatever the image.
        """
        if len(shape) != 3:
            raise ValueError(f"inputs must have shape [batch, height, width], got {shape}")
        halvings = POOL_SIZE**self.num_pool_layers
        height, width = shape[1] // halvings, shape[2] // halvings
        if height * width < 2:
            raise ValueError(
                f"images of {shape[1]} x {shape[2]} pixels are too small to be halved "
                f"{self.num_pool_layers} times: less than two pixels are left"
            )
