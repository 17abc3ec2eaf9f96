"""The package as a whole: cheap to import, layered, typed."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import pytest

import certforecast

ROOT = Path(__file__).parents[1]
HEAVY = {
    "mlflow",
    "duckdb",
    "ibis",
    "matplotlib",
    "sklearn",
    "pandas",
    "scipy",
    "dbos",
    "skops",
    "acme",
    "pyarrow",
}


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(m.split('.')[0] for m in sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import certforecast",
        "from certforecast.cli import main\nsys.argv = ['certforecast', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code",
    ],
    ids=["import", "help"],
)
def test_importing_and_asking_for_help_load_nothing_heavy(code: str) -> None:
    assert loaded_after(code).isdisjoint(HEAVY)


def test_every_public_name_resolves() -> None:
    for name in certforecast.__all__:
        assert getattr(certforecast, name) is not None
    assert set(certforecast.__all__) <= set(dir(certforecast))


def test_no_module_hides_a_public_name() -> None:
    """A submodule, once imported, is an attribute of its package, and would hide a function of its name."""
    modules = [import_module(found.name) for found in walk_packages(certforecast.__path__, "certforecast.")]
    for module in modules:
        for name in getattr(module, "__all__", []):
            assert not isinstance(getattr(module, name), ModuleType), f"{module.__name__}.{name}"


def test_the_package_is_typed() -> None:
    assert (ROOT / "certforecast" / "py.typed").is_file()


def test_the_version_is_the_one_in_the_changelog() -> None:
    assert f"## {certforecast.__version__}" in (ROOT / "CHANGELOG.md").read_text()
