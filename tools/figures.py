"""Draw the figures of the documentation, from the package's own tableaux, costs and drawings.

    uv run python tools/figures.py            # writes docs/figures/
    uv run python tools/figures.py --to DIR

The same versions of matplotlib and rksearch write the same bytes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rksearch.arch import parse
from rksearch.arch.arrays import Floats
from rksearch.arch.cost import cost
from rksearch.arch.tableaux import Tableau, tableau
from rksearch.data.facts import dataset
from rksearch.report.drawing import draw
from rksearch.search.samplers.improvement import expected_improvement

PLACE = Path(__file__).parent.parent / "docs" / "figures"

COLOURS = {"euler": "#4477aa", "heun2": "#228833", "midpoint": "#228833", "ralston3": "#ccbb44", "rk4": "#ee6677"}
"""Colour of each method: Paul Tol's bright scheme."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rksearch",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}

Slope = Callable[[Floats], Floats]


def step(method: Tableau, slope: Slope, y: Floats, h: float) -> Floats:
    """One step of an explicit method: y + h Σ_i b_i k_i with k_i = f(y + h Σ_j a_ij k_j)."""
    slopes: list[Floats] = []
    for row in method.a:
        seen = sum((float(a) * k for a, k in zip(row, slopes, strict=False)), np.zeros_like(y))
        slopes.append(slope(y + h * seen))
    return y + h * sum((float(b) * k for b, k in zip(method.b, slopes, strict=True)), np.zeros_like(y))


def states(method: Tableau, slope: Slope, y: Floats, end: float, steps: int) -> Floats:
    """States (steps + 1, components) at the ends of equal steps from 0 to `end`."""
    found = [y]
    for _ in range(steps):
        found.append(step(method, slope, found[-1], end / steps))
    return np.stack(found)


def turning(y: Floats) -> Floats:
    """Slope of a rotation that decays a little: y' = [[-0.1, -1], [1, -0.1]] y."""
    return np.array([-0.1 * y[0] - y[1], y[0] - 0.1 * y[1]])


def turned(time: npt.ArrayLike) -> Floats:
    """Exact states (..., 2) of `turning` from (1, 0)."""
    t = np.asarray(time, dtype=float)
    states: Floats = np.exp(-0.1 * t)[..., None] * np.stack([np.cos(t), np.sin(t)], axis=-1)
    return states


START = np.array([1.0, 0.0])


def draw_order(ax: Axes) -> None:
    """Error after one turn against evaluations of the slope; the lines fall with the order of the method."""
    end = 2 * math.pi
    for name in ("euler", "heun2", "ralston3", "rk4"):
        method = tableau(name)
        counts = [16 * 2**i for i in range(6)]
        errors = [
            float(np.linalg.norm(states(method, turning, START, end, n // method.stages)[-1] - turned(end)))
            for n in counts
        ]
        evaluations = [n // method.stages * method.stages for n in counts]
        ax.loglog(evaluations, errors, "o-", ms=3, color=COLOURS[name], label=f"{name}, order {method.order}")
    ax.set(xlabel="evaluations of f in one turn", ylabel="distance to the exact state")
    ax.set_xticks([16, 32, 64, 128, 256, 512], ["16", "32", "64", "128", "256", "512"], minor=False)
    ax.set_xticks([], minor=True)
    ax.legend()


def draw_trajectories(ax: Axes) -> None:
    """Four evaluations of the slope, spent in three ways, beside the exact flow."""
    end = 1.6
    path = turned(np.linspace(0, end, 100))
    ax.plot(path[:, 0], path[:, 1], color="#bbbbbb", lw=3, label="exact flow")
    for name, steps in (("euler", 4), ("midpoint", 2), ("rk4", 1)):
        method = tableau(name)
        found = states(method, turning, START, end, steps)
        label = f"{steps} step{'s' * (steps > 1)} of {name} ({steps * method.stages} evaluations)"
        ax.plot(found[:, 0], found[:, 1], "o--", ms=4, lw=1, color=COLOURS[name], label=label)
    ax.set(
        xlabel="first component of the state",
        ylabel="second component",
        aspect="equal",
        xlim=(-1.8, 1.1),
        ylim=(-0.1, 1.4),
    )
    ax.legend(loc="center left")


def draw_sharing(axes: Sequence[Axes]) -> None:
    """Parameters and multiply-adds of a network whose first period takes r time-steps."""
    images = dataset("cifar10")
    counts = range(1, 11)
    for share, label, style in ((False, "convolutions of each step", "o-"), (True, "shared by all steps", "s--")):
        networks = [parse(f"RKNet-BC-k12-m2_9_12-1x{r}{'s' if share and r > 1 else ''}_1x2_1x2") for r in counts]
        costs = [cost(network, images) for network in networks]
        axes[0].plot(counts, [c.params / 1e3 for c in costs], style, ms=3, label=label)
        axes[1].plot(counts, [c.macs / 1e6 for c in costs], style, ms=3, label=label)
    for ax, unit in zip(axes, ("thousand parameters", "million multiply-adds"), strict=True):
        ax.set(xlabel="time-steps r of the first period", ylabel=unit)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(bottom=0)
    axes[0].legend()


def draw_gain(ax: Axes) -> None:
    """Expected gain in hypervolume of one candidate, on a front that is made up."""
    sizes, errors = np.array([4.3, 4.8, 5.4]), np.array([30.0, 22.0, 16.0])
    corner = np.array([6.0, 40.0])
    cost_of, guess, spread = 5.05, 19.0, 0.12
    ends = np.append(sizes, corner[0])
    ax.fill_between(ends, np.append(errors, errors[-1]), corner[1], step="post", color="#4477aa", alpha=0.15)
    ax.step(ends, np.append(errors, errors[-1]), where="post", color="#4477aa", label="front of the model's means")
    ax.plot(sizes, errors, "o", color="#4477aa")
    ax.fill_between([cost_of, 5.4], [guess, guess], [22.0, 22.0], color="#ee6677", alpha=0.4)
    low, high = guess * math.exp(-spread), guess * math.exp(spread)
    ax.errorbar([cost_of], [guess], [[guess - low], [high - guess]], fmt="o", color="#ee6677", capsize=3)
    gain = expected_improvement(
        np.array([[cost_of]]), np.array([math.log(guess)]), np.array([spread]), sizes[:, None], errors, corner
    )[0]
    ax.annotate(
        f"a candidate: its size is known,\nits error is not; expected gain {gain:.2f}", (cost_of, high), (5.1, 29.0)
    )
    ax.plot(*corner, "x", color="black")
    ax.annotate("reference", (float(corner[0]), float(corner[1])), (5.72, 37.6))
    ax.set(xlabel="logarithm of the parameters", ylabel="error in percent", xlim=(4.1, 6.1), ylim=(12, 42))
    ax.legend(loc="lower left")


FIGURES: Sequence[tuple[str, int, Callable[[Sequence[Axes]], None]]] = (
    ("order", 1, lambda axes: draw_order(axes[0])),
    ("trajectories", 1, lambda axes: draw_trajectories(axes[0])),
    ("sharing", 2, draw_sharing),
    ("gain", 1, lambda axes: draw_gain(axes[0])),
)
"""Name, number of panels and content of each plot."""


def write_figures(place: Path) -> list[Path]:
    """Write all figures as SVG; returns their paths."""
    place.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, panels, fill in FIGURES:
            figure = Figure(figsize=(3.4 * max(panels, 1.4), 3.0), layout="constrained")
            fill([figure.add_subplot(1, panels, i + 1) for i in range(panels)])
            written.append(place / f"{name}.svg")
            figure.savefig(written[-1], metadata={"Date": None}, facecolor="white")
    network = draw(parse("RKNet-BC-k8-m2_4_6-4x1@rk4_1x2s_1x1"), dataset("cifar10"), "CIFAR-10")
    written.append(place / "network.svg")
    written[-1].write_text(network, encoding="utf-8")
    return written


def main() -> None:
    """Draw the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", type=Path, default=PLACE, help="directory of the figures [docs/figures]")
    for path in write_figures(parser.parse_args().to):
        print(path)


if __name__ == "__main__":
    main()
