"""From the bytes of an image file to pixels.

JPEG is decoded by simplejpeg (libjpeg-turbo) with the quick cosine transform, which is the one that
TensorFlow takes by default: of the golden images the pixels are then the same as in the official
JAX pipeline, except where TensorFlow, which decodes only the part that is used, cannot see the
colour beyond the right edge (see the tests). What simplejpeg refuses goes to Pillow, as everything
does in the official PyTorch pipeline: other formats under the name .JPEG, CMYK, and files with a
flaw that decoders can pass over. Orientation tags are ignored, as in both.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.errors import UserError

_HINT = 'pip install "algoperf-ref[data]"'


class UnusableImage(UserError):
    """An image that cannot be decoded; the message names the file."""


def decode(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decodes an image; any thread may.

    Args:
      data: content of the file.
      name: of the file, for the error.

    Returns:
      uint8 [height, width, 3], red, green and blue. A grey image has three equal channels.

    Raises:
      UnusableImage: it is no image, or truncated.
      UserError: simplejpeg or Pillow is not installed.
    """
    simplejpeg = _import_simplejpeg()
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, fastdct=True, strict=True)
        return pixels
    except ValueError:  # also for warnings of the decoder, since it is strict
        return _decode_with_pillow(data, name)


def _import_simplejpeg() -> Any:
    try:
        import simplejpeg  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(f"decoding images needs simplejpeg: {_HINT}") from error
    return simplejpeg


def _decode_with_pillow(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError(f"decoding images needs Pillow: {_HINT}") from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    # Pillow raises many things, SyntaxError among them, for what is no image.
    except Exception as error:
        # "cannot identify image file <_io.BytesIO object at 0x...>" would say where it lay.
        said = " ".join(str(error).split()).partition(" <_io.")[0] or type(error).__name__
        raise UnusableImage(f"{name} cannot be decoded ({said})") from error
