"""Plots of what a model goes by: importance, partial dependence, and the contributions to one forecast."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pandas as pd

from certforecast.displays import COLOURS, GREY, Display
from certforecast.errors import InputError
from certforecast.evaluation.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from certforecast.models.contributions import Contributions

__all__ = ["ContributionsDisplay", "ImportanceDisplay", "PartialDependenceDisplay"]

_BLUE, _RED = COLOURS[:2]

#: Features that say the time in other words: none of them can move alone.
_CLOCK: Final = ("log_days_left", "elapsed_share", "days_past_due", "days_to_slip", "past_usual")

#: More categories than this cannot be read.
_CATEGORIES: Final = 12


class ImportanceDisplay(Display):
    """How much each topic, and each feature, moves the forecasts.

    Parameters
    ----------
    topics : Series of float, shape (n_topics,)
        Mean absolute contribution by topic, largest first; as differences of probability.
    features : Series of float, shape (n_features,)
        The same by feature.
    outcome : str
        For the title.

    Attributes
    ----------
    ax_, features_ax_, figure_ : Axes, Axes, Figure
        Set by :meth:`plot`; `features_ax_` only if there is one.
    """

    features_ax_: "Axes"

    def __init__(self, topics: "pd.Series[float]", features: "pd.Series[float]", outcome: str) -> None:
        self.topics, self.features, self.outcome = topics, features, outcome

    @classmethod
    def from_model(cls, model: Any, X: pd.DataFrame, outcome: str = "failed") -> Self:
        """Explain rows, and average; some thousand rows are enough.

        Parameters and errors are those of :func:`certforecast.models.explain`.
        """
        from certforecast.models.contributions import explain

        return cls.from_contributions(explain(model, X, outcome))

    @classmethod
    def from_contributions(cls, told: "Contributions") -> Self:
        """Average over what was explained already.

        Raises
        ------
        ValueError
            If that is nothing.
        """
        if told.values.empty:
            raise ValueError("no rows were explained: there is nothing to average over")
        topics, features = (
            table.abs().mean().sort_values(ascending=False) for table in (told.by_topic(), told.values)
        )
        return cls(topics, features, told.outcome)

    def plot(self, ax: "Axes | None" = None, features_ax: "Axes | None" = None, most: int = 15) -> Self:
        """Draw, on new axes if none are given; on given ones the features need their own.

        Parameters
        ----------
        ax, features_ax : Axes, optional
        most : int
            Features to draw.
        """
        if ax is None:
            from matplotlib import pyplot

            figure = pyplot.figure(figsize=(10.4, 5.2), layout="constrained")
            ax, features_ax = figure.subplots(1, 2)
        ax = self._begin(ax)
        _bars(ax, self.topics, _BLUE)
        ax.set_title(f"{_named(self.outcome)}: what moves the forecast", loc="left")
        if features_ax is not None:
            self.features_ax_ = features_ax
            features_ax.spines[["top", "right"]].set_visible(False)
            _bars(features_ax, self.features.head(most), GREY)
            features_ax.set_title(
                f"the {min(most, len(self.features))} features that move it most", loc="left"
            )
        return self


class PartialDependenceDisplay(Display):
    """The mean forecast of a fleet if one feature had a given value in every renewal [1]_.

    Parameters
    ----------
    feature : str
    curves : mapping of str to Series
        Mean probability by value (numbers or categories): one curve, named "all", or for ``days_left`` one
        for each class of lifetime.
    unknown : float
        Mean probability if it is not known; NaN if it always was.
    deciles : ndarray of shape (9,) or (0,)
        Of the feature, marked below; none for categories.
    outcome : str
        For the title.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Set by :meth:`plot`.

    References
    ----------
    .. [1] J. Friedman (2001), Greedy function approximation: a gradient boosting machine, Annals of
       Statistics 29(5).
    """

    def __init__(
        self,
        feature: str,
        curves: "Mapping[str, pd.Series[float]]",
        unknown: float,
        deciles: Floats,
        outcome: str,
    ) -> None:
        self.feature, self.curves, self.unknown = feature, curves, unknown
        self.deciles, self.outcome = deciles, outcome

    @classmethod
    def from_model(
        cls, model: Any, X: pd.DataFrame, feature: str, outcome: str = "failed", points: int = 20
    ) -> Self:
        """Forecast all rows anew with each value of the feature; some hundred rows are enough.

        ``days_left`` moves the clock: the other features that say the time (``log_days_left``,
        ``elapsed_share``, ``days_past_due``, ``days_to_slip``, ``past_usual``) move along, and each class of
        lifetime that has a twentieth of the rows gets a curve, up to its shortest lifetime. All else stays,
        such as attempts and looks, which in truth would come with time. Any other feature moves alone, even
        where the rest of the row would make its value unlikely.

        Parameters
        ----------
        model : estimator
            Fitted, with ``predict_proba`` and ``classes_``.
        X : DataFrame of shape (n_rows, n_columns)
            Features.
        feature : str
            Which.
        outcome : {"failed", "slipped", "late", "on_time", "retired"}
        points : int
            Values to try, at quantiles of the feature.

        Raises
        ------
        InputError
            If there is no such feature or outcome, it is never known, or it says the time and is not
            ``days_left``.
        """
        from certforecast.models.contributions import EXPLAINED

        if outcome not in EXPLAINED:
            raise InputError(f"outcome {outcome!r} is none of {', '.join(EXPLAINED)}")
        if feature not in X:
            raise InputError(f"there is no feature {feature!r}: 'certforecast features' lists them")
        if feature in _CLOCK:
            raise InputError(f"{feature} moves with the clock: ask for days_left, which moves it along")
        known = X[feature].dropna()
        if known.empty:
            raise InputError(f"{feature} is not known of any of the rows: give rows that have it")
        inputs = X[list(getattr(model, "feature_names_in_", X.columns))]
        goal = np.isin(model.classes_, EXPLAINED[outcome]).astype(np.float64)

        def mean(rows: pd.DataFrame) -> float:
            return float((model.predict_proba(rows) @ goal).mean())

        numeric = pd.api.types.is_numeric_dtype(known)
        curves = {}
        for name, rows in _classes(inputs, feature).items():
            values = _grid(rows[feature].dropna(), points)
            if feature == "days_left" and "validity_days" in rows:
                values = values[values <= rows["validity_days"].min()]
            curves[name] = pd.Series([mean(_at(rows, feature, value)) for value in values], index=values)
        unknown = float("nan")
        if X[feature].isna().any():
            unknown = mean(inputs.assign(**{feature: np.nan if numeric else None}))
        deciles = np.quantile(known, np.arange(1, 10) / 10) if numeric else np.zeros(0)
        return cls(feature, curves, unknown, deciles, outcome)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given."""
        ax = self._begin(ax, (6.4, 4.0))
        name, across = self.feature.replace("_", " "), len(self.deciles) > 0
        for number, (label, curve) in enumerate(self.curves.items()):
            if across:
                colour = COLOURS[number % len(COLOURS)]
                ax.plot(curve.index, curve, color=colour, linewidth=1.8, label=label)
            else:
                ax.plot(curve[::-1], curve.index.astype(str)[::-1], "o", color=_BLUE)
        if across:
            ax.vlines(self.deciles, 0, 0.035, transform=ax.get_xaxis_transform(), color=GREY, linewidth=1.2)
        if self.unknown == self.unknown:
            draw = ax.axhline if across else ax.axvline
            draw(self.unknown, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="if it is not known")
        if len(self.curves) > 1 or self.unknown == self.unknown:
            ax.legend(
                frameon=False,
                fontsize="small",
                loc="upper left",
                bbox_to_anchor=(1.01, 1),
                title="lifetime" if len(self.curves) > 1 else None,
                alignment="left",
            )
        means = np.concatenate([curve.to_numpy() for curve in self.curves.values()])
        values, probabilities = (ax.xaxis, ax.yaxis) if across else (ax.yaxis, ax.xaxis)
        values.set_label_text(f"{name} (ticks: deciles)" if across else name)
        probabilities.set_label_text(f"mean P({self.outcome.replace('_', ' ')})")
        probabilities.set_major_formatter("{x:.0%}" if np.ptp(means) > 0.03 else "{x:.1%}")
        (ax.set_ylim if across else ax.set_xlim)(0, 1.15 * float(np.nanmax([*means, self.unknown])))
        ax.set_title(f"{_named(self.outcome)} by {name}", loc="left")
        return self


class ContributionsDisplay(Display):
    """One forecast as a waterfall, from what it would be if nothing were known.

    Parameters
    ----------
    steps : Series of float
        What is added by each topic or feature, as differences of probability, in the order drawn.
    base : float
        Where it starts.
    outcome : str
        For the axis.
    title : str
        Which renewal it is.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Set by :meth:`plot`.
    """

    def __init__(self, steps: "pd.Series[float]", base: float, outcome: str, title: str = "") -> None:
        self.steps, self.base, self.outcome, self.title = steps, base, outcome, title

    @classmethod
    def from_contributions(
        cls, told: "Contributions", row: int = 0, *, by: str = "topic", most: int = 9, title: str = ""
    ) -> Self:
        """Take one row of what was explained.

        Parameters
        ----------
        told : Contributions
        row : int
            Its place among them.
        by : {"topic", "feature"}
        most : int
            Steps to draw; the rest is one step.
        title : str
            Which renewal it is.

        Raises
        ------
        InputError
            If there is no such row, or `by` is neither.
        """
        if by not in ("topic", "feature"):
            raise InputError(f"by is {by!r}; choose topic or feature")
        if not -len(told.values) <= row < len(told.values):
            raise InputError(f"there is no row {row}: {len(told.values)} were explained")
        parts = (told.by_topic() if by == "topic" else told.values).iloc[row]
        parts = parts.sort_values(key=abs, ascending=False)
        shown, rest = parts.head(most), parts.iloc[most:]
        if len(rest):
            shown = pd.concat([shown, pd.Series({f"{len(rest)} others": float(rest.sum())})])
        return cls(shown, told.base, told.outcome, title)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given."""
        ax = self._begin(ax, (7.2, 1.4 + 0.36 * len(self.steps)))
        ends = self.base + self.steps.cumsum().to_numpy()
        starts = np.concatenate([[self.base], ends[:-1]])
        places = np.arange(len(ends))
        colours = [_RED if step > 0 else _BLUE for step in self.steps]
        ax.barh(places, ends - starts, left=starts, height=0.62, color=colours)
        ax.vlines(ends[:-1], places[:-1] - 0.31, places[1:] + 0.31, color=GREY, linewidth=0.8)
        low, high = min(self.base, *ends), max(self.base, *ends)
        reach = high - low
        for place, start, end in zip(places, starts, ends, strict=True):
            ax.annotate(
                f"{100 * (end - start):+.1f}",
                (max(start, end), place),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )
        for value, height, text in (
            (self.base, -0.75, f"nothing known: {self.base:.1%}"),
            (float(ends[-1]), len(ends) - 0.3, f"forecast: {float(ends[-1]):.1%}"),
        ):
            ax.axvline(value, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
            left = value < low + reach / 2
            ax.annotate(
                text,
                (value, height),
                (4 if left else -4, 0),
                textcoords="offset points",
                ha="left" if left else "right",
                va="center",
                fontsize="small",
                color=GREY,
            )
        names = [str(name).replace("_", " ") for name in self.steps.index]
        ax.set(yticks=places, yticklabels=names, ylim=(len(ends) - 0.05, -1.05))
        ax.set_xlim(max(0.0, low - 0.08 * reach), high + 0.12 * reach)
        ax.set_xlabel(f"P({self.outcome.replace('_', ' ')})")
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.set_title(self.title, loc="left", fontsize="medium")
        return self


def _classes(X: pd.DataFrame, feature: str) -> dict[str, pd.DataFrame]:
    """Split rows so that the feature may take any value of the grid in each of them."""
    if feature != "days_left" or "validity_profile" not in X:
        return {"all": X}
    profiles = X["validity_profile"].value_counts()
    common = profiles.index[profiles >= len(X) / 20]
    found = {str(profile): X[X["validity_profile"] == profile] for profile in common}
    return dict(sorted(found.items(), key=lambda item: item[1]["days_left"].median()))


def _grid(known: "pd.Series[Any]", points: int) -> "np.ndarray[Any, Any]":
    if not pd.api.types.is_numeric_dtype(known):
        return known.value_counts().index[:_CATEGORIES].to_numpy()
    return np.unique(np.quantile(known, np.linspace(0.01, 0.99, points)))


def _at(X: pd.DataFrame, feature: str, value: Any) -> pd.DataFrame:
    """Set a feature in all rows; days left with all that the clock moves."""
    if feature != "days_left":
        return X.assign(**{feature: value})
    later = X["days_left"] - value
    moved: dict[str, Any] = {"days_left": value, "log_days_left": np.log(value + 0.25)}
    for name, pace in (("days_past_due", 1.0), ("days_to_slip", -1.0)):
        if name in X:
            moved[name] = X[name] + pace * later
    for name in ("elapsed_share", "past_usual"):
        if name in X and "validity_days" in X:
            moved[name] = X[name] + later / X["validity_days"]
    return X.assign(**{name: column for name, column in moved.items() if name in X})


def _bars(ax: "Axes", sizes: "pd.Series[float]", colour: str) -> None:
    names = [str(name).replace("_", " ") for name in sizes.index]
    ax.barh(names[::-1], 100 * sizes.to_numpy()[::-1], color=colour, height=0.65)
    ax.set_xlabel("mean size of the contribution, percentage points")
    ax.margins(y=0.01)


def _named(outcome: str) -> str:
    return f"P({outcome.replace('_', ' ')})"
