"""The rules: each ranks by its score, and learns how often that failed."""

import numpy as np
import pandas as pd
import pytest

from certforecast.models import RULES, FewestDaysLeft, OutcomePool, PastDue, PriorRate


def example(rows: int = 600, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    records = ["domain_failed_rate", "domain_late_rate", "owner_failed_rate"]
    records += ["lineage_failed_rate", "lineage_late_rate"]
    frame = pd.DataFrame(
        {
            "days_left": rng.uniform(0, 90, rows),
            "days_past_due": rng.uniform(-60, 30, rows),
            "issuer_org": rng.choice(["Good", "Bad", "Ugly"], rows, p=[0.6, 0.3, 0.1]),
            "margin_last": np.where(rng.random(rows) < 0.3, np.nan, rng.uniform(-0.1, 0.5, rows)),
            **{name: np.where(rng.random(rows) < 0.2, np.nan, rng.beta(1, 9, rows)) for name in records},
        }
    )
    risk = 0.05 + 0.6 * (frame["issuer_org"] == "Bad") * (frame["days_left"] < 30)
    draw = rng.random(rows)
    y = np.where(draw < risk, "failed", np.where(draw < risk + 0.1, "slipped", "on_time"))
    return frame, y


@pytest.mark.parametrize("name", [*RULES])
def test_a_rule_ranks_by_its_score_and_learns_its_rate(name: str) -> None:
    X, y = example()
    rule = RULES[name]().fit(X, y)
    p = rule.proba_frame(X)
    assert np.allclose(p.sum(axis=1), 1.0)
    score = pd.Series(rule.risk(X), index=X.index)
    assert score.notna().all()
    for outcome in ("failed", "slipped"):
        assert p[f"p_{outcome}"].mean() == pytest.approx((y == outcome).mean(), abs=0.01)
        assert p[f"p_{outcome}"].rank().corr(score.rank()) > 0.999


def test_the_rules_say_what_their_names_say() -> None:
    X, y = example()
    sooner = X.assign(days_left=X["days_left"] - 5, days_past_due=X["days_past_due"] + 5)
    for name in ("fewest days left", "past due"):
        rule = RULES[name]().fit(X, y)
        assert (rule.risk(sooner) > rule.risk(X)).all()
    rates = RULES["issuer's rate"]().fit(X, y)
    assert rates.rates_["Bad"] > rates.rates_["Good"]
    assert rates.risk(X.head(1).assign(issuer_org="New"))[0] == rates.overall_
    assert PriorRate().fit(X, y).proba_frame(X)["p_failed"].nunique() == 1


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("domain's rate", "domain_failed_rate"),
        ("domain's late rate", "domain_late_rate"),
        ("owner's rate", "owner_failed_rate"),
        ("lineage's rate", "lineage_failed_rate"),
        ("lineage's late rate", "lineage_late_rate"),
    ],
)
def test_a_worse_record_is_more_urgent(name: str, column: str) -> None:
    X, y = example()
    rule = RULES[name]().fit(X, y)
    assert rule.risk(X.assign(**{column: 0.3})).min() > rule.risk(X.assign(**{column: 0.2})).max()
    unknown = rule.risk(X.assign(**{column: np.nan}))
    assert (unknown == X[column].median()).all()


def test_less_margin_the_last_time_is_more_urgent_and_none_is_in_between() -> None:
    X, y = example()
    rule = RULES["previous margin"]().fit(X, y)
    late, first, early = (rule.risk(X.head(1).assign(margin_last=at))[0] for at in (0.01, np.nan, 0.5))
    assert late > first > early


@pytest.mark.parametrize("name", ["owner's rate", "previous margin"])
def test_a_record_that_nobody_has_leaves_the_overall_rate(name: str) -> None:
    X, y = example()
    empty = X.assign(owner_failed_rate=np.nan, margin_last=np.nan)
    p = RULES[name]().fit(empty, y).proba_frame(empty)["p_failed"]
    assert p.nunique() == 1
    assert p.iloc[0] == pytest.approx((y == "failed").mean(), abs=0.002)


def test_a_record_that_tells_finds_what_fails() -> None:
    X, _ = example()
    y = np.where(X["domain_failed_rate"] > 0.15, "failed", "on_time")
    p = RULES["domain's rate"]().fit(X, y).proba_frame(X)["p_failed"]
    assert p[y == "failed"].min() > 0.9
    assert p[y == "on_time"].max() < 0.1


def test_the_rules_in_the_pool_stay_few() -> None:
    """The records are features of its models already."""
    X, y = example()
    pool = OutcomePool(prior=None).fit(X, y)
    assert set(pool.models_) & set(RULES) == {"fewest days left", "past due", "issuer's rate"}


def test_a_rule_ranks_before_it_has_learned_anything() -> None:
    X = pd.DataFrame({"days_left": [3.0, 90.0], "days_past_due": [5.0, -40.0]})
    for rule in (FewestDaysLeft(), PastDue()):
        soon, later = rule.risk(X)
        assert soon > later
