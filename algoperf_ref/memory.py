"""``python -m algoperf_ref.memory``: does a training step fit on the benchmark's cards?

The device memory of one training step with NadamW is estimated without the device. JAX: XLA plans
the buffers of the compiled step; PyTorch: the step runs on tensors without contents, and a
simulated allocator adds up what is alive (:mod:`algoperf_ref.frameworks.jax_memory` and
``torch_memory`` say what is in the estimate and what is not). The batch is the one that the
targets were set with, divided among the cards.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_ref import frameworks, workloads
from algoperf_ref.errors import UserError
from algoperf_ref.flags import normalised
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.harness.batch_size import training_batch_size
from algoperf_ref.harness.loading import loaded_submission
from algoperf_ref.target_setting import SUBMISSIONS
from spec.clauses import VERSIONS
from spec.hardware import OFFICIAL
from spec.records import FRAMEWORKS
from spec.tiers import Tier
from spec.workloads import base_name

GIGABYTE = 10**9
MACHINE = OFFICIAL[VERSIONS[-1]]
_LARGEST_BATCH = 2**24
_CAVEATS = {
    "jax": "(XLA's plan for a CPU; its plan for a GPU is another one, mostly by fusion)",
    "pytorch": "(without the workspaces of libraries, fragmentation and the CUDA context)",
}


@dataclass(frozen=True)
class Estimate:
    """The memory of one card in a training step, in bytes.

    Attributes:
      workload, framework, tier: whose step it is.
      global_batch_size: examples of a step, over all cards.
      num_devices: number of cards.
      parameters: of the model.
      gradients: all of them, as large as the parameters; in ``temporaries``, too, if they are
        there at the peak.
      model_state: running statistics and constants of the model.
      optimizer_state: two moments of every parameter, and counters.
      batch: the card's share of a batch.
      communication: a second copy of the gradients, to be sent (PyTorch on several cards).
      temporaries: saved activations, gradients, and all else that is there at the peak.
      peak: the most at any moment: the sum of all these but ``gradients``.
    """

    workload: str
    framework: str
    tier: str
    global_batch_size: int
    num_devices: int
    parameters: int
    gradients: int
    model_state: int
    optimizer_state: int
    batch: int
    communication: int
    temporaries: int
    peak: int

    @property
    def fits(self) -> bool:
        """Whether the peak is within the memory of a card of the benchmarking hardware."""
        return self.peak <= MACHINE.accelerator_memory_gb * GIGABYTE


def estimate(
    workload_name: str,
    framework: str,
    tier: str = "full",
    global_batch_size: int | None = None,
    num_devices: int = MACHINE.num_accelerators,
) -> Estimate:
    """Estimates the device memory of a training step.

    The host needs some times the memory of one card's share of a batch. Compiling a full model
    takes JAX up to minutes.

    Args:
      workload_name: for example ``"ogbg"``.
      framework: ``"jax"`` or ``"pytorch"``.
      tier: ``"full"`` or ``"mini"``.
      global_batch_size: examples of a step; None takes what the targets were set with.
      num_devices: cards that share the batch.

    Raises:
      UserError: unknown names, or a batch size that the cards cannot share.
    """
    if framework not in FRAMEWORKS:
        raise UserError(
            f"--framework: unknown framework {framework!r}; choose one of {', '.join(FRAMEWORKS)}"
        )
    if num_devices < 1:
        raise UserError(f"--num_devices is {num_devices}; it must be at least 1")
    if global_batch_size is not None:
        _check_batch_size(global_batch_size, num_devices)
    twin = _twin(framework)
    workload: Any = workloads.load(workload_name, framework, tier, backend=twin.planning_backend())
    if global_batch_size is None:
        global_batch_size = reference_batch_size(workload.spec, framework, num_devices)
    batch = training_batch(workload, global_batch_size // num_devices)
    found = twin.step_memory(workload, batch, num_devices)
    resident = sum(size for name, size in found.items() if name != "peak")
    return Estimate(
        workload=workload_name,
        framework=framework,
        tier=workload.tier.value,
        global_batch_size=global_batch_size,
        num_devices=num_devices,
        gradients=found["parameters"],
        temporaries=found["peak"] - resident,
        **found,
    )


def reference_batch_size(row: Any, framework: str, num_devices: int) -> int:
    """Returns the global batch size that the targets of a workload were set with.

    Args:
      row: of the workload, in its tier.
      framework: ``"jax"`` or ``"pytorch"``.
      num_devices: cards that share the batch.

    Raises:
      UserError: the cards cannot share it.
    """
    with loaded_submission(SUBMISSIONS / "nadamw", framework) as submission:
        return training_batch_size(
            submission.module,
            row.name,
            row.base_name,
            divisor=row.batch_size_divisor,
            num_devices=num_devices,
        )


def training_batch(workload: Any, rows: int) -> dict[str, Any]:
    """Makes a batch with the shapes of training; its values mean nothing.

    It is a synthetic batch, but for what training batches have more: the probabilities of mixup,
    and the places of several sentences in a row.

    Args:
      workload: of any framework.
      rows: examples of the batch.
    """
    batch: dict[str, Any] = dict(workload.synthetic_batch(rows))
    if getattr(getattr(workload, "augmentation", None), "mixup_alpha", 0.0) > 0:
        classes = workload.spec.model_config["num_classes"]
        batch["targets"] = np.eye(classes, dtype=np.float32)[batch["targets"]]
    if base_name(workload.name) == "wmt":
        for side in ("inputs", "targets"):
            ids = batch[side]
            places = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
            batch[f"{side}_position"] = np.where(ids > 0, places, 0)
            batch[f"{side}_segmentation"] = (ids > 0).astype(np.int32)
    return batch


def report(found: Estimate) -> str:
    """Returns an estimate as lines of text."""
    share = found.global_batch_size // found.num_devices
    lines = [
        f"{found.workload} ({found.tier}, {found.framework}): a training step with NadamW, "
        f"{found.global_batch_size:,} examples on {found.num_devices} cards, {share:,} each",
        "estimated per card, not measured on a device:",
    ]
    for title, size in (
        ("parameters", found.parameters),
        ("optimizer state (two moments)", found.optimizer_state),
        ("model state", found.model_state),
        ("batch", found.batch),
        ("copy of the gradients to be sent", found.communication),
        ("activations, gradients, temporaries", found.temporaries),
        ("total at the peak", found.peak),
    ):
        lines.append(f"  {title:<36} {size / GIGABYTE:>9.3f} GB")
    verdict = "fits into" if found.fits else "does not fit into"
    lines += [
        f"all gradients together are {found.gradients / GIGABYTE:.3f} GB",
        f"it {verdict} the {MACHINE.accelerator_memory_gb:g} GB of a {MACHINE.accelerator}",
        _CAVEATS[found.framework],
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
      Exit code: 0 whether the step fits or not, 2 for bad input, 130 if interrupted.
    """
    given = sys.argv[1:] if arguments is None else arguments
    # An accelerator that is there must not make another plan; has no effect once JAX runs.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        parsed = _parser().parse_args(normalised(given))
        if parsed.output is not None and not parsed.output.parent.is_dir():
            raise UserError(
                f"--output {parsed.output}: there is no directory {parsed.output.parent}"
            )
        found = estimate(
            parsed.workload, parsed.framework, parsed.tier, parsed.batch_size, parsed.num_devices
        )
        print(report(found))
        if parsed.output is not None:
            content = {**asdict(found), "fits": found.fits}
            parsed.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: --output {parsed.output}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _twin(framework: str) -> Any:
    try:
        return load_twin("algoperf_ref.frameworks.{}_memory", framework)
    except ModuleNotFoundError:
        frameworks.create(framework)  # Names the extra that installs it.
        raise


def _check_batch_size(global_batch_size: int, num_devices: int) -> None:
    if not 1 <= global_batch_size <= _LARGEST_BATCH:
        raise UserError(
            f"--batch_size is {global_batch_size}; it must be between 1 and {_LARGEST_BATCH}"
        )
    if global_batch_size % num_devices:
        raise UserError(
            f"--batch_size {global_batch_size} cannot be shared by {num_devices} cards; choose a "
            f"multiple of {num_devices} or another --num_devices"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.memory",
        description="Estimate the device memory of a training step, without the device.",
    )
    add = parser.add_argument
    add("--workload", required=True, help="workload name, for example ogbg")
    add("--framework", required=True, choices=FRAMEWORKS, help="jax or pytorch")
    add(
        "--tier",
        default=Tier.FULL.value,
        choices=[tier.value for tier in Tier],
        help="full or mini (%(default)s)",
    )
    add(
        "--batch_size",
        type=int,
        help="examples of a step over all cards; what the targets were set with by default",
    )
    add(
        "--num_devices",
        type=int,
        default=MACHINE.num_accelerators,
        help="cards that share a batch (%(default)s)",
    )
    add("--output", type=Path, help="JSON file of the figures in bytes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
