"""The picture of benchmarks/replay.py: outages against effort."""

from pathlib import Path

import pandas as pd

__all__ = ["draw"]

#: Colour, marker and width; what is not named here is not drawn.
STYLES = {
    "certforecast": ("#0072B2", "o", 3.0),
    "fewest days left": ("#D55E00", "s", 1.8),
    "30 days, by ticket": ("#009E73", "^", 1.8),
    "certbot": ("#CC79A7", "v", 1.8),
    "cert-manager": ("#E69F00", "D", 1.8),
    "last 7 days": ("#777777", "P", 1.8),
    "oracle": ("#000000", "*", 1.2),
}
LABELS = {
    "certbot": "certbot's rule",
    "certforecast": "certforecast, a plan a week",
    "cert-manager": "cert-manager's rule",
    "oracle": "oracle (knows the truth)",
    "last 7 days": "alarm in the last 7 days",
    "30 days, by ticket": "ticket 30 days before",
}


def draw(curve: pd.DataFrame, path: Path, hundreds: float, hour: float) -> None:
    """Draw each policy's outages against its effort, one point a capacity.

    Parameters
    ----------
    curve : DataFrame
        As given by `benchmarks.replay.curves`.
    path : Path
        The file.
    hundreds : float
        Hundreds of services played: figures are per hundred.
    hour : float
        What an hour of people costs, in the currency of the column ``effort``.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, NullLocator

    figure, place = plt.subplots(figsize=(8.6, 5.0))
    nobody = float(curve.loc[curve["policy"] == "nobody", "outages"].iloc[0]) / hundreds
    place.axhline(nobody, color="#999999", linewidth=1.0, linestyle=":")
    for name, (colour, marker, width) in STYLES.items():
        own = curve[curve["policy"] == name].sort_values("place")
        if own.empty:
            continue
        x, y = own["effort"] / hour / hundreds, own["outages"] / hundreds
        dashed = "--" if name in ("oracle", "last 7 days") else "-"
        place.plot(
            x, y, color=colour, marker=marker, linewidth=width, linestyle=dashed,
            label=LABELS.get(name, name), markersize=9 if name == "certforecast" else 6,
            zorder=3 if name == "certforecast" else 2,
        )  # fmt: skip
    place.set_xscale("log")
    place.set_ylim(0, nobody * 1.25)
    place.set_xticks([2, 5, 10, 20, 50, 100], minor=False)
    place.xaxis.set_minor_locator(NullLocator())
    place.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    place.annotate(
        "nobody steps in", (0.01, nobody), xycoords=("axes fraction", "data"), xytext=(0, 4),
        textcoords="offset points", fontsize=9, color="#666666",
    )  # fmt: skip
    place.set_xlabel("effort: hours of people a year for 100 services (an order counts an eighth of an hour)")
    place.set_ylabel("outages a year for 100 services")
    place.set_title("Fewer outages for less effort: the lower left corner is best", loc="left", fontsize=11)
    place.legend(frameon=False, fontsize=9.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    place.spines[["top", "right"]].set_visible(False)
    place.grid(axis="y", color="#eeeeee")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)
