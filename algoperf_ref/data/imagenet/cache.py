"""Decoded images in memory, up to a number of bytes.

Worth while where all of a split fits, as in the mini tier, whose small images cost more to open and
decode than to augment. What is in stays in: of a shuffled epoch, dropping the images used longest
ago would keep fewer hits.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

DEFAULT_BYTES = 256 << 20
"""Enough for the mini tier (61 MB); of the full tier it would hold one image in 3,000."""


class ImageCache:
    """A bounded store of decoded images that splits share; any thread may use it."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        """
        Args:
          max_bytes: bound of all images together; 0 keeps nothing.
        """
        self.max_bytes = max_bytes
        self.bytes = 0
        self._images: dict[tuple[str, int], NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def get(self, part: str, example: int) -> NDArray[np.uint8] | None:
        """The image of an example of a part of the data, read-only; None if it is not kept."""
        return self._images.get((part, example))

    def put(self, part: str, example: int, image: NDArray[np.uint8]) -> None:
        """Keeps an image, if there is room; it must not be changed afterwards."""
        with self._lock:
            if (part, example) in self._images or self.bytes + image.nbytes > self.max_bytes:
                return
            self.bytes += image.nbytes
            image.flags.writeable = False
            self._images[part, example] = image
