"""Errors of recipes against their training time, as a static picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rksearch.bench.recipes.judging import Length

COLORS = ("#2b62dd", "#d9640f", "#2a8a5e", "#8a4fbf", "#59626f", "#b3261e", "#0f7f8c", "#946200")


def drawn(found: Sequence[Length]) -> bytes:
    """An SVG file: mean error against mean time of a training, both log, a line for each recipe, with its lengths."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot, ticker

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.fonttype"] = "none"
        matplotlib.rcParams["svg.hashsalt"] = "rksearch"
        matplotlib.rcParams["font.size"] = 9
        figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
        for i, recipe in enumerate(dict.fromkeys(length.recipe for length in found)):
            own = [length for length in found if length.recipe == recipe]
            times, errors = [length.time_s for length in own], [length.val_error_pct for length in own]
            color = COLORS[i % len(COLORS)]
            axes.plot(times, errors, marker="o", markersize=4, color=color, label=recipe)
            for length in own:
                axes.annotate(
                    f"{length.epochs}",
                    (length.time_s, length.val_error_pct),
                    xytext=(0, 5),
                    textcoords="offset points",
                    color=color,
                )
        axes.set(xscale="log", yscale="log", xlabel="mean time of a training, s", ylabel="mean top-1 error, %")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.grid(color="#e8ebf1", which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, title="numbers: epochs")
        content = io.BytesIO()
        figure.savefig(content, format="svg", facecolor="white", metadata={"Date": None})
        pyplot.close(figure)
    return content.getvalue()
