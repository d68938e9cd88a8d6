"""Where evaluations can be watched besides the log: TensorBoard, Weights & Biases.

Both are told of evaluations only, inside the time charged to logging, and are never required.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from algoperf_ref.errors import UserError


class Board(Protocol):
    """Shows numbers over steps."""

    def show(self, metrics: Mapping[str, Any], global_step: int) -> None:
        """Adds the numbers of an evaluation."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


class TensorBoard:
    """Event files in the trial directory: ``tensorboard --logdir`` shows them."""

    def __init__(self, directory: Path, preemption_count: int) -> None:
        """Args:
        directory: trial directory.
        preemption_count: sets the files of resumed runs apart.

        Raises:
          UserError: the package is not installed.
        """
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "--tensorboard needs the package tensorboardX: pip install tensorboardX"
            ) from error
        self._writer = SummaryWriter(
            str(directory), filename_suffix=f".{preemption_count}", write_to_disk=True
        )

    def show(self, metrics: Mapping[str, Any], global_step: int) -> None:
        """Adds the finite numbers of an evaluation and hands them to the operating system."""
        for name, value in _numbers(metrics).items():
            self._writer.add_scalar(name, value, global_step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; its settings are those of its environment variables."""

    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        """Args:
        directory: trial directory; local files go there.
        name: of the run.
        config: facts about the run.

        Raises:
          UserError: the package is not installed, or it cannot start a run.
        """
        try:
            import wandb
        except ImportError as error:
            raise UserError("--use_wandb needs the package wandb: pip install wandb") from error
        try:
            self._run = wandb.init(dir=str(directory), name=name, config=dict(config))
        except Exception as error:  # it raises classes of many kinds: network, login, settings
            raise UserError(
                f"--use_wandb: Weights & Biases does not start ({error}); set WANDB_MODE=offline, "
                "log in, or leave the flag out"
            ) from error

    def show(self, metrics: Mapping[str, Any], global_step: int) -> None:
        """Sends the finite numbers of an evaluation."""
        self._run.log(_numbers(metrics), step=global_step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }
