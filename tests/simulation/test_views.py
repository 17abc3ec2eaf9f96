"""What one kind of source shows of a fleet: less than there is, and nothing before it was seen."""

import pyarrow.compute as pc
import pytest

from certforecast.errors import InputError
from certforecast.history.schema import DETAILS, TABLES
from certforecast.simulation import Fleet
from certforecast.simulation.views import VIEWS, seen


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(5, 30, years=1.0)


def test_each_view_keeps_the_schema(fleet: Fleet) -> None:
    whole = fleet.tables()
    for view in VIEWS:
        tables = seen(whole, view, 0)
        assert set(tables) == set(TABLES)
        assert all(tables[name].schema.names == TABLES[name].columns for name in TABLES)
        assert 0 < len(tables["certificates"]) <= len(whole["certificates"])


def test_a_log_tells_of_certificates_and_not_their_details(fleet: Fleet) -> None:
    tables = seen(fleet.tables(), "log", 0)
    assert [len(tables[name]) for name in ("observations", "events", "hosts")] == [0, 0, 0]
    assert all(tables["certificates"][name].null_count == len(tables["certificates"]) for name in DETAILS)


def test_an_authority_tells_what_it_did(fleet: Fleet) -> None:
    tables = seen(fleet.tables(), "authority", 0)
    assert len(tables["observations"]) == 0
    assert set(tables["events"]["kind"].to_pylist()) <= {"issued", "revoked", "retired"}


def test_looks_know_a_certificate_from_the_first_that_met_it(fleet: Fleet) -> None:
    tables = seen(fleet.tables(), "looks", 0)
    looks, certificates = tables["observations"], tables["certificates"]
    assert 0 < len(looks) < len(fleet.tables()["observations"])
    first = looks.group_by("fingerprint").aggregate([("known_at", "min")]).to_pylist()
    known = {row["fingerprint"]: row["known_at_min"] for row in first}
    for row in certificates.select(["fingerprint", "known_at"]).to_pylist():
        assert row["known_at"] == known[row["fingerprint"]]
    assert set(certificates["fingerprint"].to_pylist()) == set(pc.drop_null(looks["fingerprint"]).to_pylist())


def test_there_are_no_others(fleet: Fleet) -> None:
    with pytest.raises(InputError, match="is no view; choose one of everything, log"):
        seen(fleet.tables(), "dreams", 0)
