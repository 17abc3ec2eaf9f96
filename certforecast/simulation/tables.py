"""The four tables of :mod:`certforecast.history.schema`, written from a journal."""

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from publicsuffixlist import PublicSuffixList

from certforecast.history.schema import CERTIFICATES, EVENTS, HOSTS, OBSERVATIONS, Table
from certforecast.simulation.events import log
from certforecast.simulation.inventory import take_stock
from certforecast.simulation.issuances import issuances
from certforecast.simulation.journal import Journal
from certforecast.simulation.namesets import name_sets
from certforecast.simulation.naming import digest, fingerprint, host_name
from certforecast.simulation.observations import observe
from certforecast.simulation.population import ISSUERS, Population
from certforecast.simulation.rates import Rates

__all__ = ["SOURCE", "render"]

#: What the tables' `source` column says.
SOURCE: Final = "simulation"

_KEY_REUSE_SHARE: Final = 0.15


def render(
    journal: Journal, population: Population, rates: Rates, seed: int, first_day: int, last_day: int
) -> dict[str, pa.Table]:
    """Give the tables by name; rows that would be known only after the last day are left out.

    Parameters
    ----------
    first_day, last_day : int
        Days since 1970; the history ends at the beginning of `last_day`.
    """
    names = name_sets(population, journal, seed, rates.merge_share)
    firsts = {lineage: held[0] for (lineage, _), held in names.items()}
    hosts = take_stock(journal, population, firsts, seed, first_day, last_day)
    return {
        "certificates": _certificates(issuances(journal, population, seed), names, seed, last_day),
        "observations": _observations(
            observe(journal, population, seed, first_day, last_day), firsts, seed, last_day
        ),
        "events": _events(log(journal, population, seed), firsts, seed, last_day),
        "hosts": _arrow(HOSTS, _timed(hosts, ["valid_from", "valid_to"]), last_day),
    }


def _certificates(
    issued: pd.DataFrame, names: dict[tuple[int, int], list[str]], seed: int, last_day: int
) -> pa.Table:
    suffixes = PublicSuffixList()
    columns = (issued[column].tolist() for column in ("lineage", "number", "primary", "issuer", "elliptic"))
    frame = pd.DataFrame(
        [
            _certificate(seed, lineage, number, issuer, elliptic, names[primary, number], suffixes)
            for lineage, number, primary, issuer, elliptic in zip(*columns, strict=True)
        ]
    )
    frame[["not_before", "not_after", "known"]] = issued[["not_before", "not_after", "known"]]
    frame["validity_days"] = (frame["not_after"] - frame["not_before"]).round(6)
    return _arrow(CERTIFICATES, _timed(frame, ["not_before", "not_after"]), last_day)


def _certificate(
    seed: int,
    lineage: int,
    number: int,
    issuer: int,
    elliptic: bool,
    names: list[str],
    suffixes: PublicSuffixList,
) -> dict[str, Any]:
    """Give what depends on neither time nor policy."""
    made_by = ISSUERS[issuer]
    listed = sorted(names)
    reuses_key = int(digest("reuse", seed, lineage)[:8], 16) / 2**32 < _KEY_REUSE_SHARE
    commercial = made_by.public and issuer >= 2
    return {
        "fingerprint": fingerprint(seed, lineage, number),
        "serial": digest("serial", seed, lineage, number)[:32].lstrip("0"),
        "issuer_dn": made_by.dn,
        "issuer_org": made_by.organisation,
        "issuer_cn": made_by.common_name,
        "issuer_key_id": digest("issuer", issuer)[:40],
        "subject_cn": names[0],
        "names": listed,
        "name_set_id": digest("names", *listed)[:32],
        "registered_domains": sorted(
            {str(suffixes.privatesuffix(name.removeprefix("*."))) for name in listed}
        ),
        "wildcard": any(name.startswith("*.") for name in listed),
        "key_algorithm": "EC" if elliptic else "RSA",
        "key_bits": 256 if elliptic else 2048,
        "signature_algorithm": "ecdsa-with-SHA256"
        if made_by.algorithm == "ecdsa"
        else "sha256WithRSAEncryption",
        "policy": "unknown" if not made_by.public else "OV" if commercial else "DV",
        "must_staple": False,
        "eku": ["serverAuth", "clientAuth"] if commercial else ["serverAuth"],
        "is_precertificate": False,
        "spki_hash": digest("key", seed, lineage, 0 if reuses_key else number),
    }


def _observations(scans: pd.DataFrame, firsts: dict[int, str], seed: int, last_day: int) -> pa.Table:
    scans = scans.sort_values(["at", "lineage", "host"], ignore_index=True)
    got = (scans["number"] >= 0).to_numpy()
    cache: dict[tuple[int, int], str] = {}
    prints = []
    for key in zip(scans["lineage"].tolist(), scans["number"].tolist(), strict=True):
        if key not in cache:
            cache[key] = fingerprint(seed, *key)
        prints.append(cache[key] if key[1] >= 0 else None)
    hosts = {host: host_name(host) for host in scans["host"].unique().tolist()}
    status = np.where(scans["at"] > scans["not_after"], "expired", "valid")
    frame = pd.DataFrame(
        {
            "at": scans["at"],
            "host": scans["host"].map(hosts),
            "port": scans["port"],
            "server_name": scans["lineage"].map(firsts).str.replace("*", "www"),
            "fingerprint": prints,
            "chain_status": pd.Series(status).where(got, None),
            "error": scans["error"].where(~got, None),
            "latency_ms": scans["latency"].where(got),
            "known": scans["known"],
        }
    )
    return _arrow(OBSERVATIONS, _timed(frame, ["at"]).rename(columns={"at": "observed_at"}), last_day)


def _events(events: pd.DataFrame, firsts: dict[int, str], seed: int, last_day: int) -> pa.Table:
    hosts = {host: host_name(host) for host in events["host"].unique().tolist()}
    frame = pd.DataFrame(
        {
            "at": events["at"],
            "lineage": events["primary"].map(firsts) + events["suffix"],
            "fingerprint": [
                fingerprint(seed, lineage, int(number)) if kind == "issued" else None
                for lineage, number, kind in zip(
                    events["lineage"].tolist(), events["number"], events["kind"], strict=True
                )
            ],
            "host": events["host"].map(hosts),
            "kind": events["kind"],
            "code": events["code"].where(events["code"] != "", None),
            "actor": events["actor"],
            "known": events["known"],
        }
    )
    return _arrow(EVENTS, _timed(frame, ["at"]), last_day)


def _timed(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Turn days since 1970 into moments; to the second, as certificates and logs have them."""
    return frame.assign(
        **{
            column: pd.to_datetime(
                np.round(frame[column].to_numpy(float) * 86400), unit="s", utc=True
            ).as_unit("us")
            for column in columns
        }
    )


def _arrow(table: Table, frame: pd.DataFrame, last_day: int) -> pa.Table:
    """Keep what is known by the beginning of `last_day`, and give it the table's columns and types."""
    frame = frame[frame["known"] <= last_day]
    frame = _timed(frame.assign(known_at=frame["known"], source=SOURCE), ["known_at"])
    missing = {column: None for column in table.columns if column not in frame}
    return pa.Table.from_pandas(
        frame.assign(**missing)[table.columns], schema=table.schema, preserve_index=False
    )
