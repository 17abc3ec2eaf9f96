"""Fixtures and settings for all tests."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.spark"]

# Machines are shared and slow at times: how long an example takes says nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

#: The files that take longest begin first: else one process has them left when the others are done.
LONGEST: Final[Sequence[str]] = (
    *("cli/test_commands.py", "planning/test_ranking.py", "features/test_truncation.py"),
    *("history/test_lake.py", "features/test_cache.py", "planning/test_asking.py", "system/test_demo.py"),
    *("cli/test_forecasting.py", "notebooks/test_notebooks.py", "planning/test_scheduling.py"),
    *("system/test_rehearse.py", "system/test_ari.py", "system/test_chaos.py"),
    *("system/test_installer_keystore.py", "planning/test_rehearsing.py", "simulation/test_replay.py"),
    *("simulation/test_truth.py", "system/test_installer_apache.py", "pipelines/test_pipelines.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first; within a file and among the others the order stays."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    name = "/".join(item.path.parts[-2:])
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)
