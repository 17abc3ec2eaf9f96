"""The Brier score over time: by hand, and with censoring made up for."""

import numpy as np
import pytest

from certforecast.models.survival import (
    brier_by_time,
    censoring_survival,
    coverage,
    integrated_brier,
)


def test_without_censoring_it_is_the_mean_square() -> None:
    came, duration = np.array([True, True, False]), np.array([1.0, 5.0, 2.0])
    given = np.array([[0.8, 0.9], [0.1, 0.7], [0.0, 0.3]])
    scores = brier_by_time(came, duration, [False] * 3, given, [1.0, 5.0])
    np.testing.assert_allclose(scores, [(0.04 + 0.01 + 0.0) / 3, (0.01 + 0.09 + 0.09) / 3])


def test_kaplan_and_meier_by_hand() -> None:
    """Of 4, one is censored at 1 (3 left), one ends at 2, one is censored at 3 of 2 still open."""
    duration, lost = np.array([1.0, 2.0, 3.0, 4.0]), [True, False, True, False]
    found = censoring_survival(duration, lost, np.array([0.5, 1.0, 2.5, 3.0]))
    np.testing.assert_allclose(found, [1.0, 0.75, 0.75, 0.375])
    assert censoring_survival(duration, lost, np.array([1.0]), before=True) == 1.0


def test_censored_rows_do_not_bias_the_score() -> None:
    """The score with half of the rows censored by lot is that of all rows known, on average."""
    rng = np.random.default_rng(0)
    rows = 40_000
    ends, gone = rng.exponential(10, rows), rng.exponential(15, rows)
    times = [2.0, 5.0, 10.0, 15.0]
    given = np.tile(
        0.5 * (1 - np.exp(-np.array(times) / 10)), (rows, 1)
    )  # too low: the score is not at its least
    everything = integrated_brier(np.ones(rows, bool), ends, np.zeros(rows, bool), given, times)
    lost = gone < ends
    weighted = integrated_brier(~lost, np.minimum(ends, gone), lost, given, times)
    assert weighted == pytest.approx(everything, abs=0.006)
    kept = integrated_brier(np.ones(rows, bool)[~lost], ends[~lost], lost[~lost], given[~lost], times)
    assert abs(kept - everything) > 0.05  # what leaving out the censored would give


def test_shapes_have_to_fit() -> None:
    with pytest.raises(ValueError, match="shape"):
        brier_by_time([True], [1.0], [False], [[0.5, 0.5]], [1.0])


def test_coverage_counts_by_weight() -> None:
    assert coverage([0, 0], [1, 1], [0.5, 2]) == 0.5
    assert coverage([0, 0], [1, 1], [0.5, 2], [3, 1]) == 0.75
    assert np.isnan(coverage([], [], []))
