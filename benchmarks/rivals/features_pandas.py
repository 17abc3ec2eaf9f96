"""The features in plain pandas, as a good data scientist would write them: merges, shifts and grouped sums.

One moment. Left out is what the benchmark's data never holds: wildcards, splits, shared keys as evidence,
several kinds of key in a name set, merged lineages, use after expiry, retirements, our own actions, and
details that are known later than the certificate.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pandas as pd
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


def features(tables: Mapping[str, pd.DataFrame], as_of: datetime) -> pd.DataFrame:
    """Compute the features of every open renewal, from the four tables."""
    now = int(as_of.timestamp())
    certificates, looks, events, hosts = (
        tables[name][tables[name]["known_at"] <= as_of]
        for name in ("certificates", "observations", "events", "hosts")
    )
    rows = _certificates(certificates)
    sightings = _sightings(looks, now)
    moves = _moves(sightings, rows)
    rows = _outcomes(_lineages(_successors(rows, moves, events)), _service(moves), now)
    rows["now"] = now / DAY
    for time in ("issued", "expires", "due", "slip_point", "successor_issued", "in_service", "resolved"):
        rows[time] = rows[time] / DAY
    places = _inventory(rows, hosts, as_of)
    targets = rows[(rows.outcome == "open") & (rows.issued <= rows.now) & (rows.now < rows.expires)]
    targets = targets.merge(places, on="fingerprint", how="left").reset_index(drop=True)
    past = rows[rows.outcome.isin(["on_time", "slipped", "failed"])].copy()
    past["late"] = (past.outcome != "on_time").astype(float)
    past["failed"] = (past.outcome == "failed").astype(float)
    previous = rows[rows.successor.isin(targets.fingerprint)].sort_values(["issued", "fingerprint"])
    previous = previous.drop_duplicates("successor", keep="last").set_index("successor")
    previous = previous.reindex(targets.fingerprint).reset_index(drop=True)
    attempts = _happenings(targets, events, FAILURES)
    successes = _happenings(targets, events, SUCCESSES)
    rehearsals = _happenings(targets, events, REHEARSALS)

    named = targets[["fingerprint", "lineage", "name", "owner", "criticality"]]
    table = pd.DataFrame({"as_of": as_of, **named})
    for column, time in (("not_before", "issued"), ("not_after", "expires"), ("due", "due")):
        table[column] = pd.to_datetime((targets[time] * DAY).round(), unit="s", utc=True)
    groups = (
        _issuer(targets, past, rows, attempts, previous),
        _validity(targets, previous, as_of),
        _lag(targets, rows, past),
        _churn(targets, sightings, moves, previous, now),
        _operations(targets, attempts, successes, rehearsals, previous),
        _neighbours(targets, past, places, attempts),
        _calendar(targets),
    )
    return pd.concat([table, *groups], axis=1)


def _seconds(times: pd.Series) -> pd.Series:
    return times.astype("int64") // 1_000_000


def _certificates(certificates: pd.DataFrame) -> pd.DataFrame:
    called = certificates["subject_cn"].replace("", None)
    return pd.DataFrame(
        {
            "fingerprint": certificates["fingerprint"],
            "names_list": certificates["names"],
            "name_set_id": certificates["name_set_id"],
            "name": called.fillna(certificates["names"].str[0]),
            "names": certificates["names"].str.len().astype(float),
            "key_algorithm": certificates["key_algorithm"],
            "spki_hash": certificates["spki_hash"],
            "wildcard": certificates["wildcard"].astype(float),
            "validation": certificates["policy"],
            "issuer": certificates["issuer_org"]
            .fillna(certificates["issuer_cn"])
            .fillna(certificates["issuer_dn"]),
            "domain": certificates["registered_domains"].str[0],
            "issued": _seconds(certificates["not_before"]),
            "expires": _seconds(certificates["not_after"]),
            "known": _seconds(certificates["known_at"]),
        }
    ).reset_index(drop=True)


def _sightings(looks: pd.DataFrame, now: int) -> pd.DataFrame:
    seen = _seconds(looks["observed_at"])
    looks = looks[[*_ENDPOINT, "fingerprint"]].assign(
        wrong=looks["chain_status"] == "wrong_name",
        seen=seen,
        known=_seconds(looks["known_at"]),
        recent=(now - seen <= 14 * DAY).astype(int),
    )
    return looks.groupby([*_ENDPOINT, "fingerprint", "wrong"], dropna=False, as_index=False).agg(
        first_seen=("seen", "min"),
        last_seen=("seen", "max"),
        first_known=("known", "min"),
        recent=("recent", "sum"),
    )


def _moves(sightings: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    spells = sightings[sightings["fingerprint"].notna() & ~sightings["wrong"]]
    known = rows[["fingerprint", "name_set_id", "issued", "expires", "known"]]
    spells = spells.merge(known, on="fingerprint").sort_values([*_ENDPOINT, "issued", "fingerprint"])
    onward = spells.groupby(_ENDPOINT)[
        ["fingerprint", "name_set_id", "issued", "first_seen", "first_known", "known"]
    ].shift(-1)
    spells["next"], spells["next_set"] = onward["fingerprint"], onward["name_set_id"]
    spells["next_issued"], spells["next_certificate_known"] = onward["issued"], onward["known"]
    spells["next_high"], spells["next_known"] = onward["first_seen"], onward["first_known"]
    served = spells.sort_values(["last_seen", "fingerprint"]).drop_duplicates(_ENDPOINT, keep="last")
    served = served[[*_ENDPOINT, "fingerprint"]].rename(columns={"fingerprint": "served"})
    last = sightings.sort_values(["last_seen", "fingerprint"], na_position="first")
    last = last.drop_duplicates(_ENDPOINT, keep="last")
    last = last[[*_ENDPOINT, "last_seen"]].assign(last_failed=last["fingerprint"].isna())
    last = last.rename(columns={"last_seen": "last_look"})
    spells = spells.merge(served, on=_ENDPOINT).merge(last, on=_ENDPOINT)
    names = rows.drop_duplicates("name_set_id").set_index("name_set_id")["names_list"]
    other = spells.loc[
        spells["next_set"].notna() & (spells["next_set"] != spells["name_set_id"]),
        ["name_set_id", "next_set"],
    ].drop_duplicates()
    a, b = names.loc[other["name_set_id"]], names.loc[other["next_set"]]
    other["common"] = [not set(mine).isdisjoint(theirs) for mine, theirs in zip(a, b, strict=True)]
    spells = spells.merge(other, on=["name_set_id", "next_set"], how="left")
    shares = (spells["next_set"] == spells["name_set_id"]) | spells["common"].eq(True)
    current = spells["served"] == spells["fingerprint"]
    spells["moved"] = ~current & shares
    spells["still"] = current & ~spells["last_failed"]
    spells["gone"] = (current & spells["last_failed"]) | (~current & ~shares)
    spells["next_low"] = np.fmin(np.fmax(spells["last_seen"], spells["next_issued"]), spells["next_high"])
    return spells


def _service(moves: pd.DataFrame) -> pd.DataFrame:
    rows = moves.assign(
        moved_low=moves["next_low"].where(moves["moved"]),
        moved_high=moves["next_high"].where(moves["moved"]),
        moved_known=moves["next_known"].where(moves["moved"]),
    )
    return rows.groupby("fingerprint", as_index=False).agg(
        endpoints=("moved", "size"),
        endpoints_moved=("moved", "sum"),
        endpoints_still=("still", "sum"),
        endpoints_gone=("gone", "sum"),
        moved_low=("moved_low", "max"),
        moved_high=("moved_high", "max"),
        moved_known=("moved_known", "max"),
        first_seen=("first_seen", "min"),
        first_known=("first_known", "min"),
        last_look=("last_look", "max"),
    )


def _successors(rows: pd.DataFrame, moves: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Link by what clients tell, by endpoints, by exact names, and by names that grew, in this order."""
    window = int(POLICY.successor_window_days * DAY)
    issued = events.loc[
        (events["kind"] == "issued") & events["fingerprint"].notna(), ["source", "lineage", "fingerprint"]
    ].drop_duplicates()
    told = issued.merge(rows[["fingerprint", "issued", "expires", "known"]], on="fingerprint")
    told = told.sort_values(["source", "lineage", "issued", "fingerprint"])
    told[["successor", "successor_issued", "successor_known"]] = told.groupby(["source", "lineage"])[
        ["fingerprint", "issued", "known"]
    ].shift(-1)
    told = told[told["successor_issued"] <= told["expires"] + window].assign(rank=0)

    moved = moves[moves["moved"] & (moves["next_issued"] > moves["issued"])]
    moved = moved[["fingerprint", "next", "next_issued", "next_certificate_known"]].drop_duplicates()
    moved.columns = ["fingerprint", "successor", "successor_issued", "successor_known"]
    moved = moved.assign(rank=1)

    rows = rows.sort_values(["name_set_id", "key_algorithm", "issued", "fingerprint"])
    same = rows[["fingerprint", "expires"]].copy()
    same[["successor", "successor_issued", "successor_known"]] = rows.groupby(
        ["name_set_id", "key_algorithm"]
    )[["fingerprint", "issued", "known"]].shift(-1)
    in_time = same["successor_issued"] <= same["expires"] + window
    grown = _grown(rows[~in_time], rows, window).assign(rank=3)
    pairs = pd.concat(
        [
            pair[["fingerprint", "successor", "successor_issued", "successor_known", "rank"]]
            for pair in (told, moved, same[in_time].assign(rank=2), grown)
        ]
    )
    pairs = pairs.sort_values(["rank", "successor_issued", "successor"]).drop_duplicates("fingerprint")
    linked = rows.merge(pairs.drop(columns="rank"), on="fingerprint", how="left")
    linked["successor_known"] = np.fmax(linked["known"], linked["successor_known"])
    return linked


def _grown(ends: pd.DataFrame, rows: pd.DataFrame, window: int) -> pd.DataFrame:
    """Pair the last of a name set with the first of a later one that holds all its names."""
    born = rows.sort_values(["issued", "fingerprint"]).drop_duplicates("name_set_id")
    left = ends[["fingerprint", "name_set_id", "names", "issued", "expires", "names_list"]].explode(
        "names_list"
    )
    right = born[["fingerprint", "name_set_id", "issued", "known", "names_list"]].explode("names_list")
    shared = right["names_list"].duplicated(keep=False)
    pairs = left.merge(right[shared], on="names_list", suffixes=("", "_right"))
    pairs = pairs[
        (pairs["name_set_id"] != pairs["name_set_id_right"])
        & (pairs["issued_right"] > pairs["issued"])
        & (pairs["issued_right"] <= pairs["expires"] + window)
    ]
    pairs = pairs.groupby(
        ["fingerprint", "fingerprint_right", "issued_right", "known", "names"], as_index=False
    ).size()
    pairs = pairs[pairs["size"] == pairs["names"]]
    return pairs.rename(
        columns={
            "fingerprint_right": "successor",
            "issued_right": "successor_issued",
            "known": "successor_known",
        }
    )


def _lineages(rows: pd.DataFrame) -> pd.DataFrame:
    """Name each lineage by its earliest certificate."""
    rows = rows.sort_values(["issued", "fingerprint"], ignore_index=True)
    places = pd.Index(rows["fingerprint"]).get_indexer(rows["successor"])
    linked = np.flatnonzero(places >= 0)
    label = components(len(rows), linked, places[linked])
    rows["lineage"] = rows["fingerprint"].groupby(label).transform("first")
    return rows


def _outcomes(rows: pd.DataFrame, service: pd.DataFrame, now: int) -> pd.DataFrame:
    taken = service[["fingerprint", "first_seen", "first_known"]]
    taken.columns = ["successor", "taken_seen", "taken_known"]
    rows = rows.merge(service, on="fingerprint", how="left").merge(taken, on="successor", how="left")
    counts = ["endpoints", "endpoints_moved", "endpoints_still", "endpoints_gone"]
    rows[counts] = rows[counts].fillna(0)
    lifetime = rows["expires"] - rows["issued"]
    short = lifetime < POLICY.short_lifetime_days * DAY
    fraction = np.where(short, POLICY.short_due_fraction, POLICY.due_fraction)
    rows["due"] = rows["issued"] + (lifetime * fraction).round().astype(int)
    slip = np.minimum(lifetime * POLICY.slip_fraction, POLICY.slip_cap_days * DAY)
    rows["slip_point"] = rows["expires"] - slip.round().astype(int)
    grace_end = rows["expires"] + int(POLICY.grace_days * DAY)
    seen = rows["endpoints"] > 0
    stale = (now >= grace_end) & (rows["last_look"] < rows["expires"])
    by_issuance = rows["successor"].notna() & (~seen | stale)
    by_move = ~by_issuance & seen & (rows["endpoints_still"] == 0) & (rows["endpoints_moved"] > 0)
    elsewhere = ~by_issuance & seen & (rows["endpoints_still"] + rows["endpoints_moved"] == 0)
    elsewhere &= rows["taken_seen"].notna()
    evidence = [by_issuance, by_move, elsewhere]
    graced_known = np.where(seen, np.fmax(grace_end, rows["successor_known"]), rows["successor_known"])
    low = np.select(evidence, [rows["successor_issued"], rows["moved_low"], rows["successor_issued"]], np.nan)
    high = np.select(evidence, [rows["successor_issued"], rows["moved_high"], rows["taken_seen"]], np.nan)
    known = np.select(
        evidence,
        [graced_known, rows["moved_known"], np.fmax(rows["taken_known"], rows["successor_known"])],
        np.nan,
    )
    late = low > rows["expires"]
    served = np.where(late, low, np.fmin(low + (high - low) // 2, rows["expires"]))
    rows["in_service"] = np.where(np.isnan(low), np.nan, served)
    in_service = rows["in_service"].notna()
    graced = now >= grace_end
    rules = [in_service & late, in_service & (rows["in_service"] <= rows["slip_point"]), in_service, graced]
    rows["outcome"] = np.select(rules, ["failed", "on_time", "slipped", "retired"], "open")
    rows["resolved"] = np.select(rules, [known, known, known, grace_end], np.nan)
    return rows


def _inventory(rows: pd.DataFrame, hosts: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """Give the most critical host among the names of each certificate."""
    valid = (hosts["valid_from"] <= as_of) & ~(hosts["valid_to"] <= as_of)
    hosts = hosts.loc[valid, ["host", "owner", "environment", "automation", "criticality", "valid_from"]]
    sets = rows.drop_duplicates("name_set_id")[["name_set_id", "names_list"]].explode("names_list")
    named = sets.merge(hosts, left_on="names_list", right_on="host")
    named = named.sort_values(
        ["criticality", "valid_from", "host"], ascending=[False, False, True], na_position="last"
    ).drop_duplicates("name_set_id")
    places = rows[["fingerprint", "name_set_id"]].merge(
        named[["name_set_id", "owner", "environment", "automation", "criticality"]], on="name_set_id"
    )
    return places.drop(columns="name_set_id")


def _happenings(targets: pd.DataFrame, events: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    """Match events to targets by the name of their lineage, or a host that its events tell."""
    some = events.loc[events["kind"].isin(kinds), ["at", "lineage", "kind", "code"]]
    some = some.assign(at=_seconds(some["at"]) / DAY).rename(columns={"lineage": "client"})
    told = events.loc[events["lineage"].isin(some["client"]) & events["host"].notna(), ["lineage", "host"]]
    told.columns = ["client", "called"]
    called = pd.concat([told, some[["client"]].assign(called=some["client"])]).drop_duplicates()
    named = targets[["fingerprint", "lineage", "issuer", "domain", "issued", "now", "names_list"]]
    named = named.explode("names_list").merge(called, left_on="names_list", right_on="called")
    named = named.drop(columns=["names_list", "called"]).drop_duplicates()
    return named.merge(some, on="client").drop(columns="client").drop_duplicates()


def _smoothed(hits: pd.Series, trials: pd.Series, overall: float) -> pd.Series:
    return (hits.fillna(0.0) + 10.0 * overall) / (trials.fillna(0.0) + 10.0)


def _issuer(
    targets: pd.DataFrame,
    past: pd.DataFrame,
    rows: pd.DataFrame,
    attempts: pd.DataFrame,
    previous: pd.DataFrame,
) -> pd.DataFrame:
    who = targets["issuer"]
    recent = past[past["now"] - past["resolved"] <= POLICY.incident_window_days]
    record = past.groupby("issuer")[["late", "failed"]].agg(["size", "sum"])
    lately = recent.groupby("issuer")["late"].agg(["size", "sum"])
    late, failed = past["late"].mean(), past["failed"].mean()
    renewed = rows[rows["now"] - rows["successor_issued"] <= 7.0]
    early = renewed["successor_issued"] < (renewed["issued"] + renewed["expires"]) / 2
    live = who.value_counts()
    troubled = attempts[attempts["now"] - attempts["at"] <= 7.0].groupby("issuer")["lineage"].nunique()
    changed = (previous["issuer"] != who).astype(float).where(previous["issuer"].notna())
    return pd.DataFrame(
        {
            "issuer_org": who,
            "issuer_failed_rate": _smoothed(
                who.map(record["failed", "sum"]), who.map(record["failed", "size"]), failed
            ),
            "issuer_late_rate": _smoothed(
                who.map(record["late", "sum"]), who.map(record["late", "size"]), late
            ),
            "issuer_recent_late_rate": _smoothed(who.map(lately["sum"]), who.map(lately["size"]), late),
            "issuer_overdue_share": (targets["now"] > targets["due"]).groupby(who).transform("mean"),
            "issuer_trouble_share": (who.map(troubled).fillna(0) / who.map(live)).clip(upper=1.0),
            "issuer_early_share": who.map(early.groupby(renewed["issuer"]).mean()),
            "issuer_changed": changed,
        }
    )


def _validity(targets: pd.DataFrame, previous: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    now, lifetime = targets["now"], targets["expires"] - targets["issued"]
    left = targets["expires"] - now
    return pd.DataFrame(
        {
            "validity_days": lifetime,
            "validity_ratio": lifetime / (previous["expires"] - previous["issued"]),
            "validity_profile": np.select(
                [lifetime < most + 1.0 / 24 for _, most in PROFILES], [name for name, _ in PROFILES], "longer"
            ),
            "limit_ratio": lifetime / limit(as_of),
            "elapsed_share": (now - targets["issued"]) / lifetime,
            "days_left": left,
            "log_days_left": np.log(left + 0.25),
            "days_past_due": now - targets["due"],
            "days_to_slip": targets["slip_point"] - now,
            **targets[["validation", "key_algorithm", "wildcard"]],
        }
    )


def _lag(targets: pd.DataFrame, rows: pd.DataFrame, past: pd.DataFrame) -> pd.DataFrame:
    line = rows[rows["lineage"].isin(targets["lineage"])].sort_values(["lineage", "issued", "fingerprint"])
    lifetime = line["expires"] - line["issued"]
    resolved = line["outcome"].isin(["on_time", "slipped", "failed"])
    grouped = line.groupby("lineage")
    line = line[["lineage", "fingerprint", "issued"]].assign(
        position=grouped.cumcount(),
        interval=-grouped["issued"].diff(-1),
        lag=(line["in_service"] - line["due"]) / lifetime,
        margin=(line["expires"] - line["in_service"]) / lifetime,
        delay=line["in_service"] - line["successor_issued"],
        trial=resolved.astype(float),
        late=(resolved & (line["outcome"] != "on_time")).astype(float),
        failed=(line["outcome"] == "failed").astype(float),
    )
    ours = line.loc[line["fingerprint"].isin(targets["fingerprint"]), ["lineage", "fingerprint", "position"]]
    six = line.drop(columns="fingerprint").merge(ours, on="lineage", suffixes=("", "_ours"))
    turn = six["position_ours"] - six["position"]
    six = six[(turn >= 1) & (turn <= 6)]
    step = (six["position"] - six["position_ours"]).astype(float)
    angle = six["issued"] % 1.0 * (2 * np.pi)
    counted = step.where(six["lag"].notna())
    six = six.assign(
        last=six["lag"].where(step == -1),
        last_margin=six["margin"].where(step == -1),
        step=counted,
        square=counted**2,
        product=counted * six["lag"],
        working=((six["issued"] // 1 + 3) % 7 < 5).astype(float),
        east=np.cos(angle),
        north=np.sin(angle),
    )
    found = six.groupby("fingerprint").agg(
        lag_last=("last", "max"),
        lag_mean=("lag", "mean"),
        lag_spread=("lag", "std"),
        lags=("lag", "count"),
        lag_sum=("lag", "sum"),
        steps=("step", "sum"),
        squares=("square", "sum"),
        products=("product", "sum"),
        margin_last=("last_margin", "max"),
        margin_least=("margin", "min"),
        install_delay=("delay", "mean"),
        interval_mean=("interval", "mean"),
        interval_deviation=("interval", "std"),
        weekday_share=("working", "mean"),
        east=("east", "mean"),
        north=("north", "mean"),
        trials=("trial", "sum"),
        late=("late", "sum"),
        failed=("failed", "sum"),
    )
    found = found.reindex(targets["fingerprint"]).reset_index(drop=True)
    scatter = found["lags"] * found["squares"] - found["steps"] ** 2
    usual = (targets["now"] - targets["due"]) / (targets["expires"] - targets["issued"])
    return found[
        [
            "lag_last",
            "lag_mean",
            "lag_spread",
            "margin_last",
            "margin_least",
            "install_delay",
            "weekday_share",
        ]
    ].assign(
        lag_trend=(found["lags"] * found["products"] - found["steps"] * found["lag_sum"])
        / scatter.replace(0.0, np.nan),
        interval_spread=found["interval_deviation"] / found["interval_mean"].replace(0.0, np.nan),
        hour_concentration=np.hypot(found["east"], found["north"]),
        lineage_late_rate=_smoothed(found["late"], found["trials"], past["late"].mean()),
        lineage_failed_rate=_smoothed(found["failed"], found["trials"], past["failed"].mean()),
        past_usual=usual - found["lag_mean"],
    )


def _churn(
    targets: pd.DataFrame, sightings: pd.DataFrame, moves: pd.DataFrame, previous: pd.DataFrame, now: int
) -> pd.DataFrame:
    failed = sightings["fingerprint"].isna()
    fresh = sightings["fingerprint"].where(now - sightings["last_seen"] <= 90 * DAY)
    endpoints = (
        sightings.assign(errors=sightings["recent"].where(failed, 0), fresh=fresh)
        .groupby(_ENDPOINT, as_index=False)
        .agg(
            born=("first_seen", "min"),
            looks=("recent", "sum"),
            errors=("errors", "sum"),
            certificates=("fresh", "nunique"),
        )
    )
    served = sightings[~failed].groupby([*_ENDPOINT, "fingerprint"], as_index=False)["last_seen"].max()
    served = served.merge(endpoints, on=_ENDPOINT)
    for days in WINDOWS:
        served[f"joined_{days}"] = (now - served["born"] <= days * DAY).astype(float)
    joined = [f"joined_{days}" for days in WINDOWS]
    by = served.groupby("fingerprint")
    seen = (
        by[["errors", "looks"]].sum().join(by["last_seen"].max()).join(by[["certificates", *joined]].mean())
    )
    seen = seen.reindex(targets["fingerprint"]).reset_index(drop=True)
    age = now - moves["last_seen"]
    left = pd.DataFrame({f"left_{days}": moves["gone"] & (age <= days * DAY) for days in WINDOWS})
    left = left.groupby(moves["fingerprint"]).mean()
    left = left.reindex(targets["fingerprint"]).reset_index(drop=True)
    some = targets["endpoints"].where(targets["endpoints"] > 0)
    return pd.concat([seen[joined], left], axis=1).assign(
        endpoints=targets["endpoints"],
        gone_share=targets["endpoints_gone"] / some,
        moved_share=targets["endpoints_moved"] / some,
        error_share=seen["errors"] / seen["looks"].where(seen["looks"] > 0),
        silent_days=(now - seen["last_seen"]) / DAY,
        unserved=targets["successor"].notna().astype(float),
        unserved_days=targets["now"] - targets["successor_issued"],
        host_certificates=seen["certificates"],
        names=targets["names"],
        names_changed=(previous["name_set_id"] != targets["name_set_id"])
        .astype(float)
        .where(previous["name_set_id"].notna()),
        endpoint_ratio=targets["endpoints"] / previous["endpoints"].where(previous["endpoints"] > 0),
    )


def _operations(
    targets: pd.DataFrame,
    attempts: pd.DataFrame,
    successes: pd.DataFrame,
    rehearsals: pd.DataFrame,
    previous: pd.DataFrame,
) -> pd.DataFrame:
    own = attempts[attempts["at"] >= attempts["issued"]]
    age, cause = own["now"] - own["at"], own["code"].fillna(own["kind"])
    month = age <= 30.0
    own = own.assign(
        age=age,
        cause=cause,
        week=(age <= 7.0).astype(float),
        month=month.astype(float),
        month_cause=cause.where(month),
        month_at=own["at"].where(month),
        reload=own["kind"].isin(["reload_failed", "install_failed"]).astype(float),
    )
    found = own.groupby("fingerprint").agg(
        week=("week", "sum"),
        month=("month", "sum"),
        age=("age", "min"),
        causes=("month_cause", "nunique"),
        first=("month_at", "min"),
        last=("month_at", "max"),
        reload=("reload", "max"),
    )
    order = own.sort_values(["at", "kind", "code"], ascending=[False, True, True], na_position="first")
    latest = order.drop_duplicates("fingerprint").set_index("fingerprint")["cause"]
    fared = (successes["now"] - successes["at"]).groupby(successes["fingerprint"]).min()
    rehearsals = rehearsals[rehearsals["at"] >= rehearsals["issued"]]
    key = targets["fingerprint"]
    rehearsed = key.map(rehearsals.groupby("fingerprint")["at"].max())
    wrong = key.map(rehearsals[rehearsals["code"].notna()].groupby("fingerprint")["at"].max())
    found = found.reindex(key).reset_index(drop=True)
    month = found["month"].fillna(0.0)
    keys = targets.groupby("spki_hash")["lineage"].nunique()
    reused = (targets["spki_hash"] == previous["spki_hash"]).astype(float)
    return pd.DataFrame(
        {
            "attempts_failed_week": found["week"].fillna(0.0) / 7.0,
            "attempts_failed_month": month / 30.0,
            "attempt_failed_age": found["age"],
            "attempt_failed_code": key.map(latest),
            "attempt_causes": found["causes"].fillna(0.0),
            "retry_interval": ((found["last"] - found["first"]) / (month - 1.0)).where(month >= 2.0),
            "success_age": key.map(fared),
            "reload_failed": found["reload"].fillna(0.0),
            "rehearsal_failed": (wrong == rehearsed).astype(float).where(rehearsed.notna()),
            "days_since_rehearsal": targets["now"] - rehearsed,
            **targets[["automation", "environment"]],
            "key_reused": reused.where(targets["spki_hash"].notna() & previous["spki_hash"].notna()),
            "key_sharing": targets["spki_hash"].map(keys) - 1.0,
        }
    )


def _neighbours(
    targets: pd.DataFrame, past: pd.DataFrame, places: pd.DataFrame, attempts: pd.DataFrame
) -> pd.DataFrame:
    late, failed = past["late"].mean(), past["failed"].mean()
    owned = past.merge(places[["fingerprint", "owner"]], on="fingerprint")
    found = {}
    for place, rows in (("domain", past), ("owner", owned)):
        record = rows.groupby(place)[["late", "failed"]].agg(["size", "sum"])
        where = targets[place]
        for kind, overall in (("late", late), ("failed", failed)):
            found[f"{place}_{kind}_rate"] = _smoothed(
                where.map(record[kind, "sum"]), where.map(record[kind, "size"]), overall
            )
    overdue, domain = targets["now"] > targets["due"], targets["domain"]
    troubled = attempts[attempts["now"] - attempts["at"] <= 7.0].groupby("domain")["lineage"].nunique()
    live = targets.groupby("domain")["lineage"].nunique()
    return pd.DataFrame(
        {
            **found,
            "domain_trouble_share": (domain.map(troubled).fillna(0) / domain.map(live)).clip(upper=1.0),
            "domain_overdue_share": overdue.groupby(domain).transform("mean"),
            "owner_overdue_share": overdue.groupby(targets["owner"]).transform("mean"),
        }
    )


def _calendar(targets: pd.DataFrame) -> pd.DataFrame:
    expiry, due = (np.floor(targets[time]).astype(int) for time in ("expires", "due"))
    days = calendar(due.min(), expiry.max()).set_index("day")
    counts = expiry.value_counts().reindex(range(expiry.min() - 3, expiry.max() + 4), fill_value=0)
    return pd.DataFrame(
        {
            "expiry_weekday": ((expiry + 3) % 7).astype(float),
            "due_weekday": ((due + 3) % 7).astype(float),
            "free_days": expiry.map(days["free"]),
            "expires_in_freeze": expiry.map(days["frozen"]),
            "due_in_freeze": due.map(days["frozen"]),
            "crowding": expiry.map(counts.rolling(7, center=True).sum()) / len(targets),
        }
    )
