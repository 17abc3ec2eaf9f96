"""The report as JSON and as a page."""

import json
import sys
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from certforecast.errors import InputError
from certforecast.evaluation import GroupCalibrationDisplay, backtest_report, write_page
from certforecast.evaluation.sections import in_short, sections

mpl.use("Agg")


class Outline(HTMLParser):
    """Checks that tags match, and collects rows, headings and what pictures are of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[list[str]] = []
        self.links: list[str] = []
        self.texts: dict[str, list[str]] = {"h2": [], "li": [], "caption": []}

    def handle_starttag(self, tag, attrs) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        for tag in self.open:
            if tag in self.texts:
                self.texts[tag][-1] += data
        if "tr" in self.open and data.strip():
            self.cells[-1].append(data.strip())


@pytest.fixture(scope="module")
def report(timed):
    return backtest_report(timed)


def test_the_report_is_json_and_holds_every_measure(timed, report) -> None:
    known = json.loads(json.dumps(report, allow_nan=False))
    assert known["ours"] == "timed"
    assert [row["model"] for row in known["differences"]["failed"]] == ["constant"]
    assert known["differences"]["failed"][0]["auprc"] == timed.difference("timed", "constant").mean
    assert {row["horizon"] for row in known["horizons"]["late"]} == {1, 3, 7, 14, 30}
    assert {row["group"] for row in known["coverage"]} == {"all", "issuer", "owner", "validity"}
    assert known["money"][1]["lead"] == known["money"][0]["averted"] - known["money"][1]["averted"]
    assert known["timing"]["failed"][0]["model"] == "timed"


def test_the_page_shows_every_model_and_needs_nothing_else(timed, report, tmp_path) -> None:
    write_page(timed, str(tmp_path / "page.html"), report=report, title="Fleet <1>")
    text = (tmp_path / "page.html").read_text()
    page = Outline()
    page.feed(text)
    assert page.open == []
    assert "<h1>Fleet &lt;1&gt;</h1>" in text
    assert len(page.links) == 3
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert list(page.texts["h2"])[:2] == ["Who ranks best", "What a person would have found"]
    first = {row[0]: row[1] for row in page.cells[:3]}
    assert first["timed"] == f"{timed.auprc('timed'):.3f}"
    assert first["constant"] == f"{timed.auprc('constant'):.3f}"
    assert sum(row[0] == "constant" for row in page.cells) >= 12
    assert any(row[0] == "owner: careless" for row in page.cells)
    assert "timed ranks better than constant" in page.texts["li"][0]


def test_what_cannot_be_told_is_left_out(result, report, tmp_path) -> None:
    plain = {**report, "timing": {key: [] for key in report["timing"]}, "coverage": []}
    assert "Do they know when" not in [section.title for section in sections(plain)]
    assert "Do they know when" in [section.title for section in sections(report)]
    assert len(in_short(report)) == len(in_short(plain)) + 1
    quiet = replace(
        result,
        predictions=result.rows_of("danger").assign(outcome="on_time"),
        facts=result.facts.assign(outcome="on_time"),
    )
    write_page(quiet, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Nothing came about that could tell the models apart." in text
    assert "nan" not in text.replace("nance", "")


@pytest.mark.parametrize("name", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_before_anything_is_done(result, tmp_path, monkeypatch, name) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"needs {name}.*certforecast\[plots\]"):
        write_page(result, tmp_path / "page.html")


def test_groups_are_drawn_with_their_intervals(result) -> None:
    display = GroupCalibrationDisplay.from_backtest(result, model="constant", limit=2)
    assert display.groups.groupby("group").size().to_dict() == {"issuer": 2, "owner": 2, "validity": 1}
    ax = Figure(figsize=display.size, layout="constrained").subplots()
    assert display.plot(ax) is display
    assert [label.get_text() for label in ax.get_yticklabels()] == list(display.groups["value"])
    points = [line.get_xdata()[0] for line in ax.get_lines()[1:]]
    assert points == pytest.approx(list(100 * display.groups["difference"]))
    display.figure_.canvas.draw()
    quiet = replace(result, predictions=result.predictions.assign(outcome="on_time"))
    with pytest.raises(InputError, match="no renewal of the backtest came out as 'failed'"):
        GroupCalibrationDisplay.from_backtest(quiet)
