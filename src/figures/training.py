"""The training history: loss, accuracy and learning rate by epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from src.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    drawn,
    log_lr_ticks,
    new_figure,
    percent,
    plain,
    plain_ticks,
)

History = Sequence[Mapping[str, float | None]]
PANELS = [
    ("train_loss", "Train loss"),
    ("val_loss", "Validation loss"),
    ("train_accuracy", "Train accuracy"),
    ("val_accuracy", "Validation accuracy"),
]


def build_training(history: History, lr: float, found: Mapping[str, float]) -> Figure:
    """Four panels and the learning rate; the panels of a row share a scale.

    history: one row per epoch with epoch, lr, train_loss, train_accuracy in [0, 1] and, where
    there is a validation split, val_loss and val_accuracy; lr: the rate that training took;
    found: the range test's rates by name.
    """
    figure = new_figure(11, 9)
    grid = figure.add_gridspec(3, 2, height_ratios=[3, 3, 2])
    epochs = column(history, "epoch")
    first_of_row = None
    for index, (key, title) in enumerate(PANELS):
        row, side = divmod(index, 2)
        axes = figure.add_subplot(grid[row, side], sharey=first_of_row if side else None)
        first_of_row = first_of_row if side else axes
        draw_panel(axes, key, title, epochs, column(history, key))
    draw_lr(figure.add_subplot(grid[2, :]), epochs, column(history, "lr"), source(lr, found))
    return figure


def column(history: History, key: str) -> NDArray[np.float64]:
    """One value per epoch, NaN where the epoch has none."""
    return np.array([row.get(key) for row in history], dtype=np.float64)


def draw_panel(
    axes: Axes, key: str, title: str, epochs: NDArray[np.float64], values: NDArray[np.float64]
) -> None:
    """Draw one curve, mark its best and last values, and write them beside the title."""
    axes.set_title(title)
    epoch_axis(axes, epochs)
    accuracy = key.endswith("accuracy")
    if accuracy:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    if np.isnan(values).all():
        axes.set_axis_off()
        note = "no validation split"
        axes.text(0.5, 0.5, note, transform=axes.transAxes, ha="center", color=GREY)
        return
    best = np.nanargmax(values) if accuracy else np.nanargmin(values)
    axes.plot(epochs, values, ".-", color=BLUE, markersize=5)
    axes.plot(epochs[best], values[best], "o", color=ORANGE, markersize=9, fillstyle="none")
    axes.plot(epochs[-1], values[-1], "s", color=VERMILLION, markersize=5)
    text = percent if accuracy else "{:.3f}".format
    summary = f"○ best {text(values[best])} (epoch {epochs[best]:g})   ■ last {text(values[-1])}"
    axes.set_title(summary, loc="right", fontsize=9, color=GREY)


def source(lr: float, found: Mapping[str, float]) -> str:
    """Say which of the range test's rates have the value that training took."""
    names = [name for name, rate in found.items() if rate == lr]
    where = f" = lr_find's {' and '.join(names)}" if names else ", set in params.yaml"
    return f"rate {plain(lr)}{where}"


def draw_lr(axes: Axes, epochs: NDArray[np.float64], lrs: NDArray[np.float64], took: str) -> None:
    """Draw the learning rate, on a logarithmic scale unless it reaches zero."""
    epoch_axis(axes, epochs)
    axes.plot(epochs, lrs, ".-", color=BLUE, markersize=5)
    low, high = lrs.min(), lrs.max()
    if low > 0:
        axes.set(yscale="log", ylim=(low / 2, high * 2))
        log_lr_ticks(axes.yaxis, low, high)
    else:
        plain_ticks(axes.yaxis)
    scale = "log scale, " if low > 0 else ""
    axes.set_title(f"Learning rate ({scale}as each epoch ends)")
    axes.set_title(took, loc="right", fontsize=9, color=GREY)


def epoch_axis(axes: Axes, epochs: NDArray[np.float64]) -> None:
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


draw_training = drawn(build_training)
