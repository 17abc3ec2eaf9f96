"""The features in polars: lazy queries, gathered where a stage is used by several others.

One moment, and the same left out as in :mod:`rivals.features_pandas`.
"""

from collections.abc import Mapping
from datetime import datetime
from math import pi

import numpy as np
import polars as pl
from polars import col
from rivals.common import (
    DAY,
    FAILURES,
    POLICY,
    PROFILES,
    REHEARSALS,
    SUCCESSES,
    WINDOWS,
    calendar,
    components,
    limit,
)

__all__ = ["features"]

_ENDPOINT = ["host", "port", "server_name"]
_TIMES = ("issued", "expires", "due", "slip_point", "successor_issued", "in_service", "resolved")


def features(tables: Mapping[str, pl.DataFrame], as_of: datetime) -> pl.DataFrame:
    """Compute the features of every open renewal, from the four tables."""
    now = int(as_of.timestamp())
    certificates, looks, events, hosts = (
        tables[name].lazy().filter(col("known_at") <= as_of)
        for name in ("certificates", "observations", "events", "hosts")
    )
    rows = _certificates(certificates).collect()
    sets = rows.lazy().unique("name_set_id").select("name_set_id", "names_list").collect()
    sightings = _sightings(looks, now).collect()
    moves = _moves(sightings.lazy(), rows.lazy(), sets.lazy()).collect()
    linked = _lineages(_successors(rows.lazy(), moves.lazy(), events).collect())
    rows = (
        _outcomes(linked.lazy(), _service(moves.lazy()), now)
        .with_columns(*(col(time) / DAY for time in _TIMES), now=pl.lit(now / DAY))
        .collect()
    )
    places = _inventory(rows.lazy(), sets.lazy(), hosts, as_of).collect()
    targets = (
        rows.lazy()
        .filter(outcome="open")
        .filter(col("issued") <= col("now"), col("now") < col("expires"))
        .join(places.lazy(), on="fingerprint", how="left")
        .collect()
    )
    past = (
        rows.lazy()
        .filter(col("outcome").is_in(["on_time", "slipped", "failed"]))
        .select(
            *("fingerprint", "issuer", "domain", "now", "resolved"),
            late=(col("outcome") != "on_time").cast(float),
            failed=(col("outcome") == "failed").cast(float),
        )
        .collect()
    )
    previous = (
        rows.lazy()
        .join(targets.lazy().select(successor="fingerprint"), on="successor", how="semi")
        .sort("issued", "fingerprint")
        .group_by("successor")
        .last()
        .select(
            fingerprint="successor",
            previous_issuer="issuer",
            previous_lifetime=col("expires") - col("issued"),
            previous_set="name_set_id",
            previous_endpoints="endpoints",
            previous_spki="spki_hash",
        )
    )
    targets = targets.lazy().join(previous, on="fingerprint", how="left").collect()
    attempts = _happenings(targets.lazy(), events, FAILURES).collect()
    successes = _happenings(targets.lazy(), events, SUCCESSES).collect()
    rehearsals = _happenings(targets.lazy(), events, REHEARSALS).collect()
    late, failed = past["late"].mean(), past["failed"].mean()

    every, before, tried = targets.lazy(), past.lazy(), attempts.lazy()
    identified = every.select(
        *("fingerprint", "lineage", "name", "owner", "criticality"),
        as_of=pl.lit(as_of),
        not_before=_moment("issued"),
        not_after=_moment("expires"),
        due=_moment("due"),
    )
    groups = (
        _issuer(every, before, rows.lazy(), tried, late, failed),
        _validity(every, as_of),
        _lag(every, rows.lazy(), late, failed),
        _churn(every, sightings.lazy(), moves.lazy(), now),
        _operations(every, tried, successes.lazy(), rehearsals.lazy()),
        _neighbours(every, before, places.lazy(), tried, late, failed),
        _calendar(every, targets),
    )
    for group in groups:
        identified = identified.join(group, on="fingerprint", how="left")
    return identified.collect()


def _seconds(column: str) -> pl.Expr:
    return col(column).dt.epoch("s")


def _moment(column: str) -> pl.Expr:
    return pl.from_epoch((col(column) * DAY).round().cast(int), "s").dt.replace_time_zone("UTC")


def _certificates(certificates: pl.LazyFrame) -> pl.LazyFrame:
    return certificates.select(
        "fingerprint",
        *("name_set_id", "key_algorithm", "spki_hash"),
        names_list="names",
        name=pl.coalesce(pl.when(col("subject_cn") != "").then("subject_cn"), col("names").list.first()),
        names=col("names").list.len().cast(float),
        wildcard=col("wildcard").cast(float),
        validation="policy",
        issuer=pl.coalesce("issuer_org", "issuer_cn", "issuer_dn"),
        domain=col("registered_domains").list.first(),
        issued=_seconds("not_before"),
        expires=_seconds("not_after"),
        known=_seconds("known_at"),
    )


def _sightings(looks: pl.LazyFrame, now: int) -> pl.LazyFrame:
    looks = looks.select(
        *_ENDPOINT,
        "fingerprint",
        wrong=(col("chain_status") == "wrong_name").fill_null(False),
        seen=_seconds("observed_at"),
        known=_seconds("known_at"),
    )
    return looks.group_by(*_ENDPOINT, "fingerprint", "wrong").agg(
        first_seen=col("seen").min(),
        last_seen=col("seen").max(),
        first_known=col("known").min(),
        recent=(now - col("seen") <= 14 * DAY).sum().cast(int),
    )


def _moves(sightings: pl.LazyFrame, rows: pl.LazyFrame, sets: pl.LazyFrame) -> pl.LazyFrame:
    spells = (
        sightings.filter(col("fingerprint").is_not_null(), ~col("wrong"))
        .join(
            rows.select("fingerprint", "name_set_id", "issued", "expires", "known"),
            on="fingerprint",
        )
        .sort(*_ENDPOINT, "issued", "fingerprint")
        .with_columns(
            next=col("fingerprint").shift(-1).over(_ENDPOINT),
            next_set=col("name_set_id").shift(-1).over(_ENDPOINT),
            next_issued=col("issued").shift(-1).over(_ENDPOINT),
            next_certificate_known=col("known").shift(-1).over(_ENDPOINT),
            next_high=col("first_seen").shift(-1).over(_ENDPOINT),
            next_known=col("first_known").shift(-1).over(_ENDPOINT),
        )
    )
    served = spells.sort("last_seen", "fingerprint").group_by(_ENDPOINT).agg(served=col("fingerprint").last())
    last = (
        sightings.sort("last_seen", "fingerprint", nulls_last=False)
        .group_by(_ENDPOINT)
        .agg(last_look=col("last_seen").last(), last_failed=col("fingerprint").last().is_null())
    )
    common = (
        spells.filter(col("next_set") != col("name_set_id"))
        .select("name_set_id", "next_set")
        .unique()
        .join(sets, on="name_set_id")
        .join(sets.select(next_set="name_set_id", next_names="names_list"), on="next_set")
        .filter(col("names_list").list.set_intersection("next_names").list.len() > 0)
        .select("name_set_id", "next_set", common=True)
    )
    current = col("served") == col("fingerprint")
    shares = (col("next_set") == col("name_set_id")).fill_null(False) | col("common").fill_null(False)
    return (
        spells.join(served, on=_ENDPOINT)
        .join(last, on=_ENDPOINT)
        .join(common, on=["name_set_id", "next_set"], how="left")
        .with_columns(
            moved=~current & shares,
            still=current & ~col("last_failed"),
            gone=(current & col("last_failed")) | (~current & ~shares),
            next_low=pl.min_horizontal(pl.max_horizontal("last_seen", "next_issued"), "next_high"),
        )
    )


def _service(moves: pl.LazyFrame) -> pl.LazyFrame:
    return moves.group_by("fingerprint").agg(
        endpoints=pl.len().cast(float),
        endpoints_moved=col("moved").sum().cast(float),
        endpoints_still=col("still").sum().cast(float),
        endpoints_gone=col("gone").sum().cast(float),
        moved_low=col("next_low").filter("moved").max(),
        moved_high=col("next_high").filter("moved").max(),
        moved_known=col("next_known").filter("moved").max(),
        first_seen=col("first_seen").min(),
        first_known=col("first_known").min(),
        last_look=col("last_look").max(),
    )


def _successors(rows: pl.LazyFrame, moves: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Link by what clients tell, by endpoints, by exact names, and by names that grew, in this order."""
    window = int(POLICY.successor_window_days * DAY)
    in_time = col("successor_issued") <= col("expires") + window
    series = ["source", "lineage"]
    told = (
        events.filter(col("kind") == "issued", col("fingerprint").is_not_null())
        .select(*series, "fingerprint")
        .unique()
        .join(rows.select("fingerprint", "issued", "expires", "known"), on="fingerprint")
        .sort(*series, "issued", "fingerprint")
        .with_columns(
            successor=col("fingerprint").shift(-1).over(series),
            successor_issued=col("issued").shift(-1).over(series),
            successor_known=col("known").shift(-1).over(series),
        )
        .filter(in_time)
    )
    moved = moves.filter(col("moved"), col("next_issued") > col("issued")).select(
        "fingerprint",
        successor="next",
        successor_issued="next_issued",
        successor_known="next_certificate_known",
    )
    series = ["name_set_id", "key_algorithm"]
    rows = rows.sort(*series, "issued", "fingerprint")
    same = rows.with_columns(
        successor=col("fingerprint").shift(-1).over(series),
        successor_issued=col("issued").shift(-1).over(series),
        successor_known=col("known").shift(-1).over(series),
    )
    grown = _grown(same.filter(~in_time.fill_null(False)), rows, window)
    pair = ("fingerprint", "successor", "successor_issued", "successor_known")
    best = (
        pl.concat(
            pairs.select(*pair, rank=pl.lit(rank))
            for rank, pairs in enumerate((told, moved, same.filter(in_time), grown))
        )
        .sort("rank", "successor_issued", "successor")
        .group_by("fingerprint")
        .first()
        .drop("rank")
    )
    return rows.join(best, on="fingerprint", how="left").with_columns(
        successor_known=pl.max_horizontal("known", "successor_known")
    )


def _grown(ends: pl.LazyFrame, rows: pl.LazyFrame, window: int) -> pl.LazyFrame:
    """Pair the last of a name set with the first of a later one that holds all its names."""
    born = rows.sort("issued", "fingerprint").group_by("name_set_id").first()
    right = (
        born.select(
            set_b="name_set_id",
            successor="fingerprint",
            successor_issued="issued",
            successor_known="known",
            name="names_list",
        )
        .explode("name")
        .filter(col("name").is_duplicated())
    )
    left = ends.select("fingerprint", "name_set_id", "names", "issued", "expires", name="names_list")
    pair = ("fingerprint", "successor", "successor_issued", "successor_known", "names")
    return (
        left.explode("name")
        .join(right, on="name")
        .filter(
            col("name_set_id") != col("set_b"),
            col("successor_issued") > col("issued"),
            col("successor_issued") <= col("expires") + window,
        )
        .group_by(pair)
        .len()
        .filter(col("len") == col("names"))
    )


def _lineages(rows: pl.DataFrame) -> pl.DataFrame:
    """Name each lineage by its earliest certificate."""
    rows = rows.sort("issued", "fingerprint").with_row_index("place")
    edges = rows.select("place", fingerprint="successor").join(
        rows.select("fingerprint", to="place"), on="fingerprint"
    )
    label = components(len(rows), edges["place"].to_numpy(), edges["to"].to_numpy())
    return (
        rows.with_columns(label=pl.Series(label))
        .with_columns(lineage=col("fingerprint").first().over("label"))
        .drop("place", "label")
    )


def _outcomes(rows: pl.LazyFrame, service: pl.LazyFrame, now: int) -> pl.LazyFrame:
    taken = service.select(successor="fingerprint", taken_seen="first_seen", taken_known="first_known")
    counts = ("endpoints", "endpoints_moved", "endpoints_still", "endpoints_gone")
    lifetime = col("expires") - col("issued")
    short = lifetime < POLICY.short_lifetime_days * DAY
    fraction = pl.when(short).then(POLICY.short_due_fraction).otherwise(POLICY.due_fraction)
    slip = pl.min_horizontal(lifetime * POLICY.slip_fraction, POLICY.slip_cap_days * DAY)
    grace_end = col("expires") + int(POLICY.grace_days * DAY)
    graced, seen = now >= grace_end, col("endpoints") > 0
    stale = (graced & (col("last_look") < col("expires"))).fill_null(False)
    by_issuance = col("successor").is_not_null() & (~seen | stale)
    by_move = seen & (col("endpoints_still") == 0) & (col("endpoints_moved") > 0)
    elsewhere = (
        seen & (col("endpoints_still") + col("endpoints_moved") == 0) & col("taken_seen").is_not_null()
    )

    def by_evidence(issuance: pl.Expr, move: pl.Expr, other: pl.Expr) -> pl.Expr:
        return pl.when(by_issuance).then(issuance).when(by_move).then(move).when(elsewhere).then(other)

    issued, known = col("successor_issued"), col("successor_known")
    rows = (
        rows.join(service, on="fingerprint", how="left")
        .join(taken, on="successor", how="left")
        .with_columns(*(col(count).fill_null(0.0) for count in counts))
        .with_columns(
            due=col("issued") + (lifetime * fraction).round().cast(int),
            slip_point=col("expires") - slip.round().cast(int),
            low=by_evidence(issued, col("moved_low"), issued),
            high=by_evidence(issued, col("moved_high"), col("taken_seen")),
            service_known=by_evidence(
                pl.when(seen).then(pl.max_horizontal(grace_end, known)).otherwise(known),
                col("moved_known"),
                pl.max_horizontal("taken_known", known),
            ),
        )
    )
    late = col("low") > col("expires")
    middle = pl.min_horizontal(col("low") + (col("high") - col("low")) // 2, "expires")
    rows = rows.with_columns(in_service=pl.when(late).then("low").when(col("low").is_not_null()).then(middle))
    served = col("in_service").is_not_null()
    on_time = col("in_service") <= col("slip_point")
    return rows.with_columns(
        outcome=pl.when(late)
        .then(pl.lit("failed"))
        .when(on_time)
        .then(pl.lit("on_time"))
        .when(served)
        .then(pl.lit("slipped"))
        .when(graced)
        .then(pl.lit("retired"))
        .otherwise(pl.lit("open")),
        resolved=pl.when(served).then("service_known").when(graced).then(grace_end),
    )


def _inventory(rows: pl.LazyFrame, sets: pl.LazyFrame, hosts: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Give the most critical host among the names of each certificate."""
    valid = (col("valid_from") <= as_of) & (col("valid_to").is_null() | (col("valid_to") > as_of))
    named = (
        sets.explode("names_list")
        .join(hosts.filter(valid), left_on="names_list", right_on="host")
        .sort(*("criticality", "valid_from", "names_list"), descending=[True, True, False], nulls_last=True)
        .group_by("name_set_id")
        .first()
        .select("name_set_id", "owner", "environment", "automation", "criticality")
    )
    return rows.select("fingerprint", "name_set_id").join(named, on="name_set_id").drop("name_set_id")


def _happenings(targets: pl.LazyFrame, events: pl.LazyFrame, kinds: list[str]) -> pl.LazyFrame:
    """Match events to targets by the name of their lineage, or a host that its events tell."""
    some = events.filter(col("kind").is_in(kinds)).select(
        "kind", "code", client="lineage", at=_seconds("at") / DAY
    )
    told = events.filter(col("host").is_not_null()).select(client="lineage", called="host")
    told = told.join(some, on="client", how="semi")
    called = pl.concat([told, some.select("client", called="client")]).unique()
    return (
        targets.select(*("fingerprint", "lineage", "issuer", "domain", "issued", "now"), called="names_list")
        .explode("called")
        .join(called, on="called")
        .drop("called")
        .unique()
        .join(some, on="client")
        .drop("client")
        .unique()
    )


def _smoothed(hits: str, trials: str, overall: float) -> pl.Expr:
    return (col(hits).fill_null(0.0) + 10.0 * overall) / (col(trials).fill_null(0.0) + 10.0)


def _record(past: pl.LazyFrame, place: str) -> pl.LazyFrame:
    return past.group_by(place).agg(
        trials=pl.len().cast(float), late=col("late").sum(), failed=col("failed").sum()
    )


def _troubled(attempts: pl.LazyFrame, place: str) -> pl.LazyFrame:
    recent = attempts.filter(col("now") - col("at") <= 7.0)
    return recent.group_by(place).agg(troubled=col("lineage").n_unique())


def _issuer(
    targets: pl.LazyFrame,
    past: pl.LazyFrame,
    rows: pl.LazyFrame,
    attempts: pl.LazyFrame,
    late: float,
    failed: float,
) -> pl.LazyFrame:
    recent = past.filter(col("now") - col("resolved") <= POLICY.incident_window_days)
    lately = recent.group_by("issuer").agg(recent=pl.len().cast(float), recent_late=col("late").sum())
    renewed = rows.filter(col("now") - col("successor_issued") <= 7.0)
    early = renewed.group_by("issuer").agg(
        issuer_early_share=(col("successor_issued") < (col("issued") + col("expires")) / 2).mean()
    )
    live = targets.group_by("issuer").agg(
        issuer_overdue_share=(col("now") > col("due")).mean(), live=pl.len()
    )
    found = targets.select("fingerprint", "issuer", "previous_issuer")
    for other in (_record(past, "issuer"), lately, early, live, _troubled(attempts, "issuer")):
        found = found.join(other, on="issuer", how="left")
    return found.select(
        "fingerprint",
        *("issuer_overdue_share", "issuer_early_share"),
        issuer_org="issuer",
        issuer_failed_rate=_smoothed("failed", "trials", failed),
        issuer_late_rate=_smoothed("late", "trials", late),
        issuer_recent_late_rate=_smoothed("recent_late", "recent", late),
        issuer_trouble_share=pl.min_horizontal(col("troubled").fill_null(0) / col("live"), 1.0),
        issuer_changed=(col("previous_issuer") != col("issuer")).cast(float),
    )


def _validity(targets: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    lifetime, left = col("expires") - col("issued"), col("expires") - col("now")
    profile = pl.coalesce(
        *(pl.when(lifetime < most + 1.0 / 24).then(pl.lit(name)) for name, most in PROFILES),
        pl.lit("longer"),
    )
    return targets.select(
        "fingerprint",
        *("validation", "key_algorithm", "wildcard"),
        validity_days=lifetime,
        validity_ratio=lifetime / col("previous_lifetime"),
        validity_profile=profile,
        limit_ratio=lifetime / limit(as_of),
        elapsed_share=(col("now") - col("issued")) / lifetime,
        days_left=left,
        log_days_left=(left + 0.25).log(),
        days_past_due=col("now") - col("due"),
        days_to_slip=col("slip_point") - col("now"),
    )


def _lag(targets: pl.LazyFrame, rows: pl.LazyFrame, late: float, failed: float) -> pl.LazyFrame:
    lifetime = col("expires") - col("issued")
    resolved = col("outcome").is_in(["on_time", "slipped", "failed"])
    line = (
        rows.join(targets, on="lineage", how="semi")
        .sort("lineage", "issued", "fingerprint")
        .select(
            *("lineage", "fingerprint", "issued"),
            position=pl.int_range(pl.len()).over("lineage"),
            interval=(col("issued").shift(-1) - col("issued")).over("lineage"),
            lag=(col("in_service") - col("due")) / lifetime,
            margin=(col("expires") - col("in_service")) / lifetime,
            delay=col("in_service") - col("successor_issued"),
            trial=resolved.cast(float),
            late=(resolved & (col("outcome") != "on_time")).cast(float),
            failed=(col("outcome") == "failed").cast(float),
        )
    )
    ours = line.join(targets, on="fingerprint", how="semi").select("lineage", "fingerprint", ours="position")
    turn = col("ours") - col("position")
    step = -turn.filter(col("lag").is_not_null()).cast(float)
    known_lag = col("lag").drop_nulls()
    angle = (col("issued") % 1.0) * (2 * pi)
    six = line.drop("fingerprint").join(ours, on="lineage").filter(turn >= 1, turn <= 6)
    found = six.group_by("fingerprint").agg(
        lag_last=col("lag").filter(turn == 1).max(),
        lag_mean=col("lag").mean(),
        lag_spread=col("lag").std(),
        lags=col("lag").count().cast(float),
        lag_sum=col("lag").sum(),
        steps=step.sum(),
        squares=(step**2).sum(),
        products=(step * known_lag).sum(),
        margin_last=col("margin").filter(turn == 1).max(),
        margin_least=col("margin").min(),
        install_delay=col("delay").mean(),
        interval_mean=col("interval").mean(),
        interval_deviation=col("interval").std(),
        weekday_share=((col("issued").floor().cast(int) + 3) % 7 < 5).mean(),
        east=angle.cos().mean(),
        north=angle.sin().mean(),
        trials=col("trial").sum(),
        late=col("late").sum(),
        failed=col("failed").sum(),
    )
    scatter = col("lags") * col("squares") - col("steps") ** 2
    mean = col("interval_mean")
    return (
        targets.select("fingerprint", "now", "due", "issued", "expires")
        .join(found, on="fingerprint", how="left")
        .select(
            "fingerprint",
            *("lag_last", "lag_mean", "lag_spread", "margin_last", "margin_least", "install_delay"),
            "weekday_share",
            lag_trend=pl.when(scatter != 0.0).then(
                (col("lags") * col("products") - col("steps") * col("lag_sum")) / scatter
            ),
            interval_spread=pl.when(mean != 0.0).then(col("interval_deviation") / mean),
            hour_concentration=(col("east") ** 2 + col("north") ** 2).sqrt(),
            lineage_late_rate=_smoothed("late", "trials", late),
            lineage_failed_rate=_smoothed("failed", "trials", failed),
            past_usual=(col("now") - col("due")) / lifetime - col("lag_mean"),
        )
    )


def _churn(targets: pl.LazyFrame, sightings: pl.LazyFrame, moves: pl.LazyFrame, now: int) -> pl.LazyFrame:
    failed = col("fingerprint").is_null()
    fresh = (now - col("last_seen") <= 90 * DAY) & ~failed
    endpoints = sightings.group_by(_ENDPOINT).agg(
        born=col("first_seen").min(),
        looks=col("recent").sum(),
        errors=col("recent").filter(failed).sum(),
        certificates=col("fingerprint").filter(fresh).n_unique(),
    )
    seen = (
        sightings.filter(~failed)
        .group_by(*_ENDPOINT, "fingerprint")
        .agg(col("last_seen").max())
        .join(endpoints, on=_ENDPOINT)
        .group_by("fingerprint")
        .agg(
            col("errors", "looks").sum(),
            silent_days=(now - col("last_seen")).min() / DAY,
            host_certificates=col("certificates").mean(),
            **{f"joined_{days}": (now - col("born") <= days * DAY).mean() for days in WINDOWS},
        )
    )
    left = moves.group_by("fingerprint").agg(
        **{f"left_{days}": (col("gone") & (now - col("last_seen") <= days * DAY)).mean() for days in WINDOWS}
    )
    some = pl.when(col("endpoints") > 0).then("endpoints")
    previous = pl.when(col("previous_endpoints") > 0).then("previous_endpoints")
    return (
        targets.join(seen, on="fingerprint", how="left")
        .join(left, on="fingerprint", how="left")
        .select(
            "fingerprint",
            *(f"{kind}_{days}" for kind in ("joined", "left") for days in WINDOWS),
            *("endpoints", "names", "silent_days", "host_certificates"),
            gone_share=col("endpoints_gone") / some,
            moved_share=col("endpoints_moved") / some,
            error_share=col("errors") / pl.when(col("looks") > 0).then("looks"),
            unserved=col("successor").is_not_null().cast(float),
            unserved_days=col("now") - col("successor_issued"),
            names_changed=(col("previous_set") != col("name_set_id")).cast(float),
            endpoint_ratio=col("endpoints") / previous,
        )
    )


def _operations(
    targets: pl.LazyFrame, attempts: pl.LazyFrame, successes: pl.LazyFrame, rehearsals: pl.LazyFrame
) -> pl.LazyFrame:
    age, cause = col("now") - col("at"), pl.coalesce("code", "kind")
    month = age <= 30.0
    found = (
        attempts.filter(col("at") >= col("issued"))
        .sort("at", "kind", "code", descending=[True, False, False])
        .group_by("fingerprint", maintain_order=True)
        .agg(
            week=(age <= 7.0).sum().cast(float),
            month=month.sum().cast(float),
            attempt_failed_age=age.min(),
            attempt_failed_code=cause.first(),
            attempt_causes=cause.filter(month).n_unique().cast(float),
            span=col("at").filter(month).max() - col("at").filter(month).min(),
            reload_failed=col("kind").is_in(["reload_failed", "install_failed"]).max().cast(float),
        )
    )
    fared = successes.group_by("fingerprint").agg(success_age=age.min())
    rehearsed = (
        rehearsals.filter(col("at") >= col("issued"))
        .group_by("fingerprint")
        .agg(rehearsed=col("at").max(), wrong=col("at").filter(col("code").is_not_null()).max())
    )
    keys = targets.filter(col("spki_hash").is_not_null()).group_by("spki_hash")
    keys = keys.agg(key_sharing=col("lineage").n_unique() - 1.0)
    return (
        targets.join(found, on="fingerprint", how="left")
        .join(fared, on="fingerprint", how="left")
        .join(rehearsed, on="fingerprint", how="left")
        .join(keys, on="spki_hash", how="left")
        .select(
            "fingerprint",
            *("attempt_failed_age", "attempt_failed_code", "success_age", "key_sharing"),
            *("automation", "environment"),
            attempts_failed_week=col("week").fill_null(0.0) / 7.0,
            attempts_failed_month=col("month").fill_null(0.0) / 30.0,
            attempt_causes=col("attempt_causes").fill_null(0.0),
            retry_interval=pl.when(col("month") >= 2.0).then(col("span") / (col("month") - 1.0)),
            reload_failed=col("reload_failed").fill_null(0.0),
            rehearsal_failed=pl.when(col("rehearsed").is_not_null()).then(
                (col("wrong").fill_null(-1.0) == col("rehearsed")).cast(float)
            ),
            days_since_rehearsal=col("now") - col("rehearsed"),
            key_reused=(col("spki_hash") == col("previous_spki")).cast(float),
        )
    )


def _neighbours(
    targets: pl.LazyFrame,
    past: pl.LazyFrame,
    places: pl.LazyFrame,
    attempts: pl.LazyFrame,
    late: float,
    failed: float,
) -> pl.LazyFrame:
    overdue = (col("now") > col("due")).mean()
    domain = (
        targets.select("fingerprint", "domain")
        .join(_record(past, "domain"), on="domain", how="left")
        .join(_troubled(attempts, "domain"), on="domain", how="left")
        .join(
            targets.group_by("domain").agg(domain_overdue_share=overdue, live=col("lineage").n_unique()),
            on="domain",
            how="left",
        )
        .select(
            *("fingerprint", "domain_overdue_share"),
            domain_late_rate=_smoothed("late", "trials", late),
            domain_failed_rate=_smoothed("failed", "trials", failed),
            domain_trouble_share=pl.min_horizontal(col("troubled").fill_null(0) / col("live"), 1.0),
        )
    )
    owned = past.join(places, on="fingerprint").filter(col("owner").is_not_null())
    shares = targets.filter(col("owner").is_not_null()).group_by("owner").agg(owner_overdue_share=overdue)
    owner = (
        targets.select("fingerprint", "owner")
        .join(_record(owned, "owner"), on="owner", how="left")
        .join(shares, on="owner", how="left")
        .select(
            *("fingerprint", "owner_overdue_share"),
            owner_late_rate=_smoothed("late", "trials", late),
            owner_failed_rate=_smoothed("failed", "trials", failed),
        )
    )
    return domain.join(owner, on="fingerprint")


def _calendar(targets: pl.LazyFrame, gathered: pl.DataFrame) -> pl.LazyFrame:
    first, last = int(gathered["due"].min()), int(gathered["expires"].max())
    days = pl.from_pandas(calendar(first, last)).lazy()
    expiry = gathered["expires"].cast(int).to_numpy()
    counts = np.bincount(expiry - expiry.min() + 3, minlength=np.ptp(expiry) + 7)
    near = np.convolve(counts, np.ones(7), "same") / len(gathered)
    crowds = pl.LazyFrame({"day": np.arange(len(near)) + expiry.min() - 3, "crowding": near})
    return (
        targets.select("fingerprint", day=col("expires").floor().cast(int), due=col("due").floor().cast(int))
        .join(days, on="day", how="left")
        .join(crowds, on="day", how="left")
        .join(days.select(due="day", due_in_freeze="frozen"), on="due", how="left")
        .select(
            *("fingerprint", "crowding", "due_in_freeze"),
            expiry_weekday=((col("day") + 3) % 7).cast(float),
            due_weekday=((col("due") + 3) % 7).cast(float),
            free_days="free",
            expires_in_freeze="frozen",
        )
    )
