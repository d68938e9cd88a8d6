"""Work on many files at a time, with a progress bar, that ends soon after Ctrl-C or a failure."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

Tick = Callable[[int], object]
"""Told how much was done; raises :class:`Stopped` once the work is to end."""


class Stopped(Exception):
    """Another worker failed, or the user interrupts: this one need not go on."""


def work_on(
    items: Sequence[T],
    work: Callable[[T, Tick], object],
    *,
    name: str,
    total: int,
    unit: str,
    workers: int | None = None,
) -> None:
    """Works on all items, several at a time.

    Threads are enough: reading, unpacking, numpy and pyarrow release the interpreter lock.

    Args:
      items: what to work on.
      work: called with each item, in a thread, and with what to call as it gets on.
      name: of the progress bar.
      total: what all calls of ``tick`` add up to.
      unit: of this number.
      workers: items to work on at a time; None: as many as there are cores.

    Raises:
      Whatever the first worker that fails raises.
    """
    from tqdm import tqdm

    stop = threading.Event()
    scale = unit == "B"
    bar: Any = tqdm(total=total, desc=name, unit=unit, unit_scale=scale, leave=False, disable=None)

    def tick(done: int) -> None:
        if stop.is_set():
            raise Stopped
        bar.update(done)

    def one(item: T) -> None:
        if stop.is_set():
            raise Stopped
        try:
            work(item, tick)
        except BaseException:
            stop.set()
            raise

    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        futures = [pool.submit(one, item) for item in items]
        for future in futures:
            future.exception()  # waits
        failures = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(failures, key=lambda error: isinstance(error, Stopped)):
            raise error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        bar.close()
