"""One directory with data for all runs of the package."""

from __future__ import annotations

import pytest

from conformance_tests.distributed.runs import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("distributed"))
