"""Mass revocation."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.forecasting import revocation_drill
from certforecast.forecasting.drill import Order, schedule
from certforecast.history import History
from certforecast.limits import Bucket
from certforecast.settings import EffortSettings
from tests.forecasting.conftest import NOW

DOMAIN = Bucket(name="certificates", per="registered domain", capacity=3, refill_s=7200)
ACCOUNT = Bucket(name="new orders", per="account", capacity=5, refill_s=900)

orders = st.lists(
    st.builds(
        lambda key, hours, loss: (key, hours, loss),
        st.sampled_from("abc"),
        st.sampled_from([0.0, 0.5, 3.0]),
        st.floats(0, 100),
    ),
    max_size=30,
).map(
    lambda rows: [
        Order(f"{number:03}", ((ACCOUNT, ""), (DOMAIN, key)), hours, loss)
        for number, (key, hours, loss) in enumerate(rows)
    ]
)
efforts = st.builds(
    EffortSettings,
    people=st.integers(1, 3),
    people_hours_per_day=st.sampled_from([4.0, 8.0, 24.0]),
    renewals_per_hour=st.sampled_from([2.0, 120.0]),
)


@settings(max_examples=50)
@given(orders=orders, effort=efforts)
def test_no_bucket_ever_gives_what_it_does_not_have(orders: list[Order], effort: EffortSettings) -> None:
    done = list(schedule(orders, effort))
    assert sorted(row[0] for row in done) == sorted(order.fingerprint for order in orders)
    times = defaultdict(list)
    by_name = {order.fingerprint: order for order in orders}
    for fingerprint, at, finished, _ in done:
        assert finished >= at
        for bucket, key in by_name[fingerprint].buckets:
            times[bucket, key].append(at * 3600)
    for (bucket, _), found in times.items():
        # In no span may more go out than a full bucket and what comes back meanwhile.
        found.sort()
        for start in range(len(found)):
            for end in range(start, len(found)):
                most = bucket.capacity + (found[end] - found[start]) / bucket.refill_s
                assert end - start + 1 <= most + 1e-3


@settings(max_examples=50)
@given(orders=orders, effort=efforts)
def test_people_work_one_thing_at_a_time(orders: list[Order], effort: EffortSettings) -> None:
    by_name = {order.fingerprint: order for order in orders}
    hours = sum(order.hours for order in orders)
    done = [row for row in schedule(orders, effort) if by_name[row[0]].hours > 0]
    if done:
        last = max(row[2] for row in done)
        days, rest = divmod(last + 1e-6, 24.0)
        able = effort.people * (days * effort.people_hours_per_day + min(rest, effort.people_hours_per_day))
        assert hours <= able + 0.01
    for _, at, finished, _ in done:
        assert at % 24.0 < effort.people_hours_per_day + 1e-6
        assert finished % 24.0 <= effort.people_hours_per_day + 1e-6


def test_what_would_be_missed_most_comes_first() -> None:
    alone = EffortSettings(renewals_per_hour=1.0)
    rows = [Order(name, (), 0.0, loss) for name, loss in (("a", 1.0), ("b", 9.0), ("c", 5.0))]
    assert [(row[0], row[1]) for row in schedule(rows, alone)] == [("b", 0.0), ("c", 1.0), ("a", 2.0)]


def test_who_lacks_a_token_does_not_hold_up_others() -> None:
    rows = [Order(f"{n}", ((DOMAIN, "a"),), 0.0, 10.0 - n) for n in range(4)]
    rows.append(Order("other", ((DOMAIN, "b"),), 0.0, 0.0))
    found = {row[0]: row for row in schedule(rows, EffortSettings(renewals_per_hour=3600.0))}
    assert found["other"][1] < 0.01
    assert found["3"][1] == pytest.approx(2.0, abs=0.01)
    assert "certificates (a)" in found["3"][3]


def test_nobody_there() -> None:
    [row] = schedule([Order("a", (), 1.0, 1.0)], EffortSettings(people=0))
    assert row == ("a", float("inf"), float("inf"), "people")


def test_a_drill(history: History) -> None:
    made = revocation_drill(history, NOW, "private", 24, to="Let's Encrypt")
    assert made.issuer == "Private"
    assert len(made.table) == 10
    assert made.table["criticality"].is_monotonic_decreasing
    # Two people, 1.5 hours each time, 8 hours a day: five rounds.
    assert made.table["done_h"].max() == pytest.approx(7.5)
    assert made.summary()["too_late"] == 0
    hasty = revocation_drill(history, NOW, "Private", 3, to="Let's Encrypt").summary()
    assert (hasty["in_time"], hasty["too_late"], hasty["too_late_because"]) == (4, 6, {"people": 6})
    assert hasty["expected_loss_too_late"] < 0.5 * hasty["expected_loss"]


def test_the_same_authority_knows_the_names(history: History) -> None:
    made = revocation_drill(history, NOW, "Let's Encrypt", 24)
    assert made.summary()["too_late"] == 0
    assert made.limits_known
    assert not revocation_drill(history, NOW, "Let's Encrypt", 24, to="Elsewhere").limits_known


def test_errors_name_the_nearest(history: History) -> None:
    with pytest.raises(InputError, match="nearest: Let's Encrypt"):
        revocation_drill(history, NOW, "Lets Encrypt")
    with pytest.raises(InputError, match="more than 0"):
        revocation_drill(history, NOW, "Private", 0)
