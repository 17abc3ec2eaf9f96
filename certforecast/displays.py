"""What plots have in common: data first, drawing on request, in the manner of scikit-learn's displays."""

from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "GREY", "Display"]

#: Okabe and Ito (2008), told apart with every kind of colour vision; its yellow is too pale for lines.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY: Final = "#767676"


class Display:
    """A plot that holds its data; ``plot()`` draws it and sets `ax_` and `figure_`."""

    ax_: "Axes"
    figure_: "Figure"

    def _begin(self, ax: "Axes | None", size: tuple[float, float] = (7.2, 4.2)) -> "Axes":
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.figure(figsize=size, layout="constrained").subplots()
        self.ax_, self.figure_ = ax, cast("Figure", ax.figure)
        ax.spines[["top", "right"]].set_visible(False)
        return ax
