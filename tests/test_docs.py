"""Pages made from code are current, and links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from certforecast.history.sources import source_names

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/*.md")])


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/build.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_source_has_its_page() -> None:
    for name in source_names():
        assert len((ROOT / "docs" / "sources" / f"{name}.md").read_text().splitlines()) > 10, name


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    extras = project["optional-dependencies"].values()
    for requirement in (*project["dependencies"], *(one for listed in extras for one in listed)):
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name == "certforecast" or name in explained, name  # extras name one another
