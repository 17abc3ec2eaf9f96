"""Where each certificate is served, what the inventory says of its host, and what renews it."""

from collections import defaultdict
from collections.abc import Container
from datetime import datetime
from typing import Any

from certforecast.planning.plan import Endpoint
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.renewals.computing import computed
from certforecast.renewals.places import inventory, serving
from certforecast.settings import Settings

__all__ = ["endpoints", "hosts", "tools"]


def endpoints(
    history: HasTables, as_of: datetime, installers: Container[str] = ()
) -> dict[str, list[Endpoint]]:
    """Give by fingerprint the endpoints that served a certificate when last seen; none are an empty list.

    Parameters
    ----------
    installers : container of str
        Names under ``[installers]``: an endpoint gets that of its own host's inventory row, if it is one.
    """
    own = _installers(history, as_of)
    places = defaultdict[str, list[Endpoint]](list)
    served = serving(history.tables().at([as_of])).to_pandas().sort_values(["host", "port", "server_name"])
    for row in served.itertuples():
        installer = own.get(row.host)
        endpoint = Endpoint(
            host=row.host,
            port=row.port,
            server_name=row.server_name,
            installer=installer if installer in installers else None,
        )
        places[row.fingerprint].append(endpoint)
    return places


def hosts(history: HasTables, as_of: datetime) -> dict[str, dict[Any, Any]]:
    """Give by fingerprint the inventory row that describes a certificate best; nulls as pandas has them."""
    # The inventory has no thresholds.
    rows = computed(inventory, history.tables(), [as_of], RenewalPolicy()).to_pandas()
    described: dict[str, dict[Any, Any]] = rows.set_index("fingerprint").to_dict("index")
    return described


def _installers(history: HasTables, as_of: datetime) -> dict[str, str]:
    """Give by host the installer that its latest inventory row names."""
    hosts = history.tables().at([as_of]).hosts
    valid = (hosts.valid_from <= hosts.as_of) & (hosts.valid_to.isnull() | (hosts.valid_to > hosts.as_of))
    rows = hosts.filter(valid).select("host", "installer", "valid_from").to_pandas()
    latest = rows.sort_values(["valid_from", "installer"]).groupby("host").tail(1).dropna(subset="installer")
    return dict(zip(latest["host"], latest["installer"], strict=True))


def tools(host: dict[Any, Any], settings: Settings) -> tuple[str | None, str | None]:
    """Give the names of the issuer and the installer of a host: those of its inventory row, else the default.

    Parameters
    ----------
    host : dict
        Its inventory row; may be empty.
    settings : Settings
        What the inventory names and the settings do not hold is passed over.
    """
    issuer, installer = host.get("host_issuer"), host.get("host_installer")
    return (
        issuer if issuer in settings.issuers else settings.executor.issuer,
        installer if installer in settings.installers else settings.executor.installer,
    )
