"""Hypothesis profiles of the property tests.

``ci`` (the default) is reproducible: the same examples every time, few enough for a laptop.
``thorough`` draws new and many more examples: ``--hypothesis-profile=thorough`` or the
environment variable ``HYPOTHESIS_PROFILE=thorough``. ``mutation`` has few examples and stops at the
first that fails: `nox -s mutation` runs the tests some hundred times.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

DEFAULT_PROFILE = "ci"

# No deadline and no complaint about slow generation: machines that run the tests differ and are
# shared, and how fast an example runs is not what these tests are about.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile(
    "ci", derandomize=True, max_examples=50, stateful_step_count=60, print_blob=True, **_COMMON
)
settings.register_profile("thorough", max_examples=1000, stateful_step_count=100, **_COMMON)
settings.register_profile(
    "mutation",
    derandomize=True,
    database=None,
    max_examples=20,
    stateful_step_count=20,
    phases=[Phase.explicit, Phase.generate],
    **_COMMON,
)


def pytest_configure(config: pytest.Config) -> None:
    """Loads the profile of the environment, unless the command line names one."""
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", DEFAULT_PROFILE))
