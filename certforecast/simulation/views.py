"""What one kind of source shows of a fleet: a model that starts elsewhere has to know them all."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from certforecast.errors import InputError
from certforecast.history.schema import DETAILS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["VIEWS", "seen"]

#: Share of an endpoint's looks that are kept in ``looks``: from nearly daily ones to a few a year.
_KEPT: Final = (0.1, 1.0)

_View = Callable[[dict[str, "pa.Table"], np.random.Generator], dict[str, "pa.Table"]]


def seen(tables: "Mapping[str, pa.Table]", view: str, seed: int) -> "dict[str, pa.Table]":
    """Cut a fleet's tables down to what one kind of source would tell of it.

    Parameters
    ----------
    tables : mapping of str to Table
        As given by :meth:`Fleet.tables`.
    view : str
        ``everything``; ``log``: certificates as a list of a transparency log has them, without their details
        and with nothing of service; ``authority``: certificates with what their authority did; ``looks``:
        looks at endpoints, some left out, and the certificates they met.
    seed : int
        Of what is left out.

    Returns
    -------
    dict of str to Table

    Raises
    ------
    InputError
        If there is no such view.
    """
    if view not in VIEWS:
        raise InputError(f"{view!r} is no view; choose one of {', '.join(VIEWS)}")
    return VIEWS[view](dict(tables), np.random.default_rng(seed))


def _everything(tables: "dict[str, pa.Table]", _: np.random.Generator) -> "dict[str, pa.Table]":
    return tables


def _log(tables: "dict[str, pa.Table]", _: np.random.Generator) -> "dict[str, pa.Table]":
    nothing = {name: table.slice(0, 0) for name, table in tables.items()}
    return nothing | {"certificates": _undetailed(tables["certificates"])}


def _authority(tables: "dict[str, pa.Table]", _: np.random.Generator) -> "dict[str, pa.Table]":
    import pyarrow.compute as pc

    events = tables["events"]
    told = pc.is_in(events["kind"], value_set=_strings("issued", "revoked", "retired"))
    nothing = {name: table.slice(0, 0) for name, table in tables.items()}
    return nothing | {"certificates": tables["certificates"], "events": events.filter(told)}


def _looks(tables: "dict[str, pa.Table]", rng: np.random.Generator) -> "dict[str, pa.Table]":
    import pyarrow as pa
    import pyarrow.compute as pc

    looks, certificates = tables["observations"], tables["certificates"]
    looks = looks.filter(pa.array(rng.random(len(looks)) < rng.uniform(*_KEPT)))
    first = looks.group_by("fingerprint").aggregate([("known_at", "min")])
    place = pc.index_in(certificates["fingerprint"], value_set=first["fingerprint"])
    # A certificate is known from the first look that met it, and not at all without one.
    known = first["known_at_min"].take(place).cast(certificates.schema.field("known_at").type)
    met = certificates.set_column(
        certificates.column_names.index("known_at"), certificates.schema.field("known_at"), known
    ).filter(pc.is_valid(place))
    nothing = {name: table.slice(0, 0) for name, table in tables.items()}
    return nothing | {"observations": looks, "certificates": _undetailed(met)}


def _undetailed(certificates: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    for name in DETAILS:
        field = certificates.schema.field(name)
        nothing = pa.nulls(len(certificates), field.type)
        certificates = certificates.set_column(certificates.column_names.index(name), field, nothing)
    return certificates


def _strings(*values: str) -> "pa.Array":
    import pyarrow as pa

    return pa.array(values)


#: What the kinds of sources show.
VIEWS: Final[dict[str, _View]] = {
    "everything": _everything,
    "log": _log,
    "authority": _authority,
    "looks": _looks,
}
