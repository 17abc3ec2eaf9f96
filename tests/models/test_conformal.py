"""Corrected levels: back and forth, by class, and wide enough for what comes next."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.models.conformal import LEVELS, corrected, needed

probabilities = st.floats(0, 1, allow_subnormal=False)


def named(labels: list[int]) -> list[np.ndarray]:
    """Name classes, the wider one of two first."""
    fine = np.array([f"class {label}" for label in labels], dtype=object)
    return [np.where(np.array(labels) % 2, "odd", "even").astype(object), fine]


@given(
    st.lists(st.tuples(probabilities, st.floats(0.01, 3), st.integers(0, 3)), min_size=1, max_size=60),
    st.lists(probabilities, min_size=1, max_size=20),
)
def test_a_probability_comes_back_from_the_level_it_stands_for(
    rows: list[tuple[float, float, int]], asked: list[float]
) -> None:
    said, weights = (np.array([row[place] for row in rows]) for place in (0, 1))
    found = corrected(said, weights, named([label for _, _, label in rows]))
    for curve in (found.all, *found.by_class.values()):
        assert (curve[0], curve[-1]) == (0, 1)
        assert (np.diff(curve) >= 0).all()
    for label in range(5):  # of the last there is none: the wider class stands for it
        classes = named([label] * len(asked))
        levels = found.levels(np.array(asked), classes)
        back = [found.probabilities([level], classes, len(asked))[0, 0] for level in levels]
        np.testing.assert_allclose(back, asked, atol=1e-9)


def test_a_class_has_its_own_and_few_rows_those_of_the_wider_one() -> None:
    rng = np.random.default_rng(0)
    said = np.concatenate([rng.uniform(0, 1, 2000), rng.uniform(0.5, 1, 2000), [0.1]])
    wide = np.array(["right"] * 2000 + ["late"] * 2001, dtype=object)
    fine = np.array(["right"] * 2000 + ["late, a"] * 2000 + ["late, b"], dtype=object)
    found = corrected(said, np.ones(4001), [wide, fine])
    assert found.by_class["right"][200] == pytest.approx(0.5, abs=0.03)
    assert found.by_class["late, a"][200] == pytest.approx(0.75, abs=0.03)
    assert found.by_class["late, b"][200] == pytest.approx(found.by_class["late"][200], abs=0.04)
    assert found.probabilities([0.5], [wide, fine], 4001)[-1, 0] == found.by_class["late, b"][200]
    unseen = np.array(["other"], dtype=object)
    assert found.probabilities([0.5], [unseen, unseen], 1)[0, 0] == found.all[200]


def test_where_the_next_are_covered_too_seldom_more_is_asked_for_and_never_less() -> None:
    rng = np.random.default_rng(0)
    early = np.arange(4000) < 2000
    weights, classes = np.ones(4000), [np.full(4000, "one", dtype=object)]
    steady = rng.uniform(0, 1, 4000)
    drifted = np.where(early, steady, rng.beta(0.5, 0.5, 4000))  # more at both ends than was forecast
    calmer = np.where(early, steady, rng.beta(4, 4, 4000))
    assert np.abs(needed(steady, weights, classes, early, ~early) - LEVELS).max() < 0.04
    wide = needed(drifted, weights, classes, early, ~early)
    assert (np.diff(wide) >= 0).all()
    assert 0.96 < wide[360] < 1
    share = np.mean(2 * np.abs(drifted[~early] - 0.5) <= wide[360])
    assert share == pytest.approx(0.9, abs=0.02)
    assert (needed(calmer, weights, classes, early, ~early) == LEVELS).mean() > 0.95
    few = early & (np.arange(4000) < 49)
    assert (needed(drifted, weights, classes, few, ~early) == LEVELS).all()
    assert (needed(drifted, weights, classes, early, few) == LEVELS).all()
