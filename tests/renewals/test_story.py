"""The life story of one lineage: told from its rows, in order, and nothing from the future."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certforecast.errors import InputError
from certforecast.history import History
from certforecast.renewals.plots import LineageDisplay
from certforecast.renewals.story import Story, life_story
from tests.timeline import Timeline, day, digest

SHOP = ["shop.example", "www.shop.example"]


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    timeline = Timeline()
    first = timeline.certificate("a1", SHOP, 0, key_algorithm="RSA")
    second = timeline.certificate("a2", [*SHOP, "new.shop.example"], 70, issuer_org="Other")
    third = timeline.certificate("a3", [*SHOP, "new.shop.example"], 165, issuer_org="Other")
    timeline.looks(1, 72, first)
    timeline.looks(2, 71, first, host="h2")
    timeline.looks(72, 170, second)
    timeline.looks(71, 170, second, host="h2")
    timeline.looks(170, 180, third)
    timeline.looks(170, 180, third, host="h2")
    for at in (130, 131, 132, 150):
        timeline.event(at, "shop.example", "order_failed", code="dns", detail="no such name")
    # A stranger, twins, and a lineage that only its client has a name for.
    timeline.certificate("s1", "stranger.example", 10)
    timeline.certificate("t1", "twin.example", 10, key_algorithm="RSA")
    timeline.certificate("t2", "twin.example", 10.01, key_algorithm="ECDSA")
    timeline.certificate("p1", "pay.example", 10)
    timeline.event(10, "prod/pay", "issued", fingerprint=digest("p1"), host="pay.example")
    with timeline.history() as filled:
        yield filled


@pytest.fixture(scope="module")
def story(history: History) -> Story:
    return life_story(history, "shop.example", day(180))


def test_it_tells_what_happened_in_order(story: Story) -> None:
    assert story.entries["at"].is_monotonic_increasing
    assert [(at, kind) for at, kind in zip(story.entries["at"], story.entries["kind"], strict=True)] == [
        (day(0), "issued"),
        (day(1), "served"),
        (day(70), "issued"),
        (day(71), "served"),
        (day(71.5), "on_time"),
        (day(130), "order_failed"),
        (day(150), "order_failed"),
        (day(160), "failed"),
        (day(165), "issued"),
        (day(170), "served"),
        (day(180), "open"),
    ]


def test_it_says_who_why_and_what_changed(story: Story) -> None:
    issued = story.entries.loc[story.entries["kind"] == "issued", "text"].tolist()
    assert issued[0] == "issued by Test for 90 days, for shop.example, www.shop.example"
    assert issued[1].startswith(f"issued by Other for 90 days, to replace {digest('a1')[:8]} (")
    assert "it followed on an endpoint" in issued[1]
    assert "it covers all names" in issued[1]
    assert issued[1].endswith("; added new.shop.example; before, Test issued it")
    assert "added" not in issued[2]


def test_repeated_attempts_are_one_line(story: Story) -> None:
    told = story.entries.loc[story.entries["kind"] == "order_failed", "text"].tolist()
    assert told == [
        "order failed: dns (no such name), 3 times until 2025-05-13",
        "order failed: dns (no such name)",
    ]


def test_it_says_what_became_of_each(story: Story) -> None:
    ends = story.entries.set_index("kind")["text"]
    assert ends["on_time"] == (
        "renewed on time: successor in service 11.5 days after it was due, 18.5 days before expiry"
    )
    assert ends["failed"] == "failed: its successor was in service 9.0 days after its expiry"
    assert ends["open"] == "open: due in 45.0 days, expires in 75.0 days"
    assert story.summary().startswith(
        "3 certificates since 2025-01-01, from Test, Other; 1 on time, 1 failed, 1 open; "
    )
    assert story.entries["text"].str.contains("on all 2 endpoints by 2025-03-14").any()


def test_what_comes_later_is_not_told(history: History) -> None:
    then = life_story(history, "shop.example", day(100))
    assert then.entries["at"].max() == day(100)
    assert len(then.renewals) == 2
    assert not (then.entries["kind"] == "order_failed").any()


@pytest.mark.parametrize(
    "name",
    ["shop.example", "SHOP.example ", digest("a1"), digest("a2")[:8], "new.shop.example", "www.shop.example"],
)
def test_it_is_found_by_any_name(history: History, story: Story, name: str) -> None:
    assert life_story(history, name, day(180)).lineage == story.lineage == digest("a1")


def test_it_is_found_by_what_its_client_calls_it(history: History) -> None:
    assert life_story(history, "prod/pay", day(180)).name == "pay.example"


def test_several_of_one_name_are_told_apart(history: History) -> None:
    with pytest.raises(InputError, match=r"2 lineages go by 'twin\.example'; name one by: ") as error:
        life_story(history, "twin.example", day(180))
    assert f"{digest('t1')[:12]} (RSA, to 2025-04-11)" in str(error.value)
    assert life_story(history, digest("t2")[:12], day(180)).renewals["key_algorithm"].tolist() == ["ECDSA"]


@pytest.mark.parametrize("name", ["nobody.example", digest("nothing"), "", "%", "'"])
def test_nobody_goes_by_that_name(history: History, name: str) -> None:
    with pytest.raises(InputError, match="no lineage goes by"):
        life_story(history, name, day(180))


def test_the_plot_shows_every_certificate_and_endpoint(story: Story, tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    display = LineageDisplay(story).plot()
    shown = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert shown == [one[:8] for one in story.renewals["fingerprint"]]
    endpoints = [label.get_text() for label in display.endpoints_ax_.get_yticklabels()]
    assert endpoints == ["h1:443", "h2:443"]
    # Bars: before and after due, three times; spells: three on each of two, one of them past its expiry.
    assert len(display.ax_.patches) == 6
    assert len(display.endpoints_ax_.patches) == 6 + 2
    display.figure_.savefig(tmp_path / "story.svg")
    assert "shop.example" in (tmp_path / "story.svg").read_text()


def test_the_plot_of_a_long_life_says_what_it_leaves_out() -> None:
    timeline = Timeline()
    for number in range(30):
        timeline.certificate(f"c{number}", "short.example", number * 4, days=6)
    with timeline.history() as history:
        story = life_story(history, "short.example", day(200))
    display = LineageDisplay(story).plot()
    assert len(display.certificates) == 24
    assert display.ax_.get_title(loc="left") == "short.example (the last 24 of 30)"
    assert not hasattr(display, "endpoints_ax_")  # never seen on one
    assert story.as_of - story.renewals["not_after"].max() > timedelta(days=60)
