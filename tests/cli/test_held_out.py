"""What a plan leaves alone on purpose stands below its actions."""

import pytest

from certforecast.cli.plan import show_plan
from tests.execution.test_holdout import plan


def test_the_table_says_what_is_left_alone_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(plan(), 20)
    shown = capsys.readouterr()
    text = shown.out + shown.err
    for part in ("Left alone on purpose", "minor.example.org", "left alone to learn from", "1 of 1 held out"):
        assert part in text
    show_plan(plan(held_out=()), 20)
    shown = capsys.readouterr()
    assert "Left alone" not in shown.out + shown.err
