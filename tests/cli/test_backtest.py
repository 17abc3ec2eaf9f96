"""What a backtest shows of an outcome that never came about."""

import pytest

from certforecast.cli.backtest import _show
from certforecast.evaluation import backtest, default_cutoffs
from certforecast.settings import Settings
from tests.evaluation.conftest import Constant, make_frame


def test_what_never_came_about_has_no_figures(capsys: pytest.CaptureFixture[str]) -> None:
    frame = make_frame()
    frame = frame[frame["outcome"] != "failed"]
    result = backtest(frame, {"constant": Constant}, default_cutoffs(frame, 1))
    _show(result, Settings(), "failed")
    told = capsys.readouterr()
    assert "nan" not in told.out
    assert "0 of 0" in told.out
    assert "no renewal that was scored came out as failed: there is nothing to rank by" in told.err
    _show(result, Settings(), "late")
    assert "nothing to rank by" not in capsys.readouterr().err
