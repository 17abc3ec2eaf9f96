"""Rate limits as shipped data."""

from certforecast.limits import authorities, limits_of


def test_every_limit_says_where_it_is_from() -> None:
    assert authorities()
    for authority in authorities().values():
        assert authority.source.startswith("https://")
        assert authority.buckets


def test_a_week_of_the_published_limits() -> None:
    known = {bucket.name: bucket for bucket in authorities()["letsencrypt"].buckets}
    week = 7 * 86_400
    assert known["certificates"].capacity * known["certificates"].refill_s == week
    same = known["certificates of the same names"]
    assert same.capacity * same.refill_s == week
    orders = known["new orders"]
    assert orders.capacity * orders.refill_s == 3 * 3600


def test_which_orders_are_exempt() -> None:
    limits = limits_of("Let's Encrypt")
    assert limits is not None
    assert limits.on_orders(ari=True, same_names=True) == ()
    again = {bucket.name for bucket in limits.on_orders(ari=False, same_names=True)}
    assert again == {"certificates of the same names"}
    new = {bucket.per for bucket in limits.on_orders(ari=False, same_names=False)}
    assert new == {"account", "registered domain", "name set"}


def test_unknown_authorities_have_no_known_limits() -> None:
    assert limits_of("Example Platform") is None
    assert limits_of(None) is None
