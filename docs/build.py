"""Writes the pages that are made from code: the feature catalogue and the plan's JSON schema.

python docs/build.py            write them
python docs/build.py --check    exit with 1 if one is out of date
"""

import json
import sys
from pathlib import Path

from certforecast.features import FEATURES
from certforecast.history.sources import installed_sources
from certforecast.planning import Plan

DOCS = Path(__file__).parent


def catalogue() -> str:
    """Give the feature catalogue as Markdown."""
    lines = [
        "# Features",
        "",
        f"All {len(FEATURES)} features, made from the code by `make docs`. A flag is 1 or 0. All are taken",
        "at `as_of`, for renewals that are open then, from rows known by then. A lifetime is that of the",
        "certificate in question.",
    ]
    for group in dict.fromkeys(feature.group for feature in FEATURES.values()):
        lines += ["", f"## {group.capitalize()}", ""]
        lines += ["| feature | kind | unit | what it says |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{feature.name}` | {feature.kind} | {feature.unit} | {feature.doc} |"
            for feature in FEATURES.values()
            if feature.group == group
        ]
    return "\n".join(lines) + "\n"


def sources() -> str:
    """Give the list of sources as Markdown."""
    lines = [
        "# Sources",
        "",
        "Every place that history can be read from; the list is made from the code by `make docs`, and",
        "`certforecast sources` shows it too. All are imported in the same way:",
        "",
        "    certforecast ingest NAME PLACE [-o OPTION=VALUE]...",
        "    certforecast ingest auto PATH      # finds out what a file or a folder is, and reads it",
        "    certforecast ingest                # all [sources.NAME] of the settings: kind, place, options",
        "",
        "A second import reads what is new and costs little; one that was stopped goes on where it was.",
        "`--again` reads everything. What cannot be read is set aside with its reason and position",
        "(`certforecast status --quarantine`). Others add sources by an entry point in the group",
        "`certforecast.sources` that names a subclass of `certforecast.history.sources.Source`.",
        "",
        "| source | reads | needs |",
        "| --- | --- | --- |",
    ]
    for kind in installed_sources()[0]:
        reads = (kind.__doc__ or "").strip().partition("\n")[0].rstrip(".").replace("``", "`")
        needs = f"`certforecast[{kind.extra}]`" if kind.extra else ""
        lines.append(f"| [{kind.name}]({kind.name}.md) | {reads} | {needs} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the pages."""
    pages = {
        "features.md": catalogue(),
        "sources/README.md": sources(),
        "plan.schema.json": json.dumps(Plan.json_schema(), indent=2) + "\n",
    }
    present = {name: (DOCS / name).read_text() for name in pages if (DOCS / name).exists()}
    stale = [name for name, text in pages.items() if present.get(name) != text]
    if "--check" in sys.argv:
        for name in stale:
            print(f"docs/{name} is out of date: run 'make docs'", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(pages[name])
        print(f"wrote docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
