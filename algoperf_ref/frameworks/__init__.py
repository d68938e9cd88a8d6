"""What differs between JAX and PyTorch and is not a model."""

from __future__ import annotations

from algoperf_ref.errors import UserError
from algoperf_ref.frameworks.base import Backend
from spec.records import FRAMEWORKS


def create(framework: str) -> Backend:
    """Sets a framework up and returns its backend; the other framework is not imported.

    Args:
      framework: ``"jax"`` or ``"pytorch"``.

    Raises:
      UserError: unknown framework, or the framework is not installed.
    """
    if framework not in FRAMEWORKS:
        raise UserError(f"unknown framework {framework!r}: choose one of {', '.join(FRAMEWORKS)}")
    try:
        if framework == "jax":
            from algoperf_ref.frameworks.jax_backend import JaxBackend

            return JaxBackend()
        from algoperf_ref.frameworks.torch_backend import TorchBackend

        return TorchBackend()
    except ModuleNotFoundError as error:
        extra = "jax" if framework == "jax" else "torch"
        raise UserError(
            f"framework {framework!r} needs the package {error.name!r}: "
            f'pip install "algoperf-ref[{extra}]"'
        ) from error
