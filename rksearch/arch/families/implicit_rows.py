"""Rows of the networks that refine their layers from one another: RKCNN and CliqueNet."""

from __future__ import annotations

from rksearch.arch import RKCNN, CliqueNet
from rksearch.arch.families.dense_rows import dense_layer, transition
from rksearch.arch.rows import Size, Writer


def rkcnn(w: Writer, spec: RKCNN) -> None:
    """Stem, periods with transitions between them, head over the last or over all periods."""
    k = spec.growth_rate
    w.stem(k)
    features: list[tuple[int, Size]] = []
    for i, (s, r) in enumerate(spec.periods, 1):
        for step in range(1, r + 1):
            _rkcnn_step(w, spec, f"period{i}.step{step}", s)
        features.append((k, w.size))
        if i < len(spec.periods):
            _rkcnn_transition(w, spec, f"transition{i}")
    if spec.multiscale:
        w.multiscale_head(features)
    else:
        w.head(k)


def _rkcnn_step(w: Writer, spec: RKCNN, path: str, s: int) -> None:
    k, middle = spec.growth_rate, spec.neck * spec.growth_rate
    for j in range(s):
        stage = f"{path}.explicit.stage{j + 1}"
        dense_layer(w, stage, stage, (1 + j) * k, k, middle)
    for sweep in range(1, spec.passes):
        for j in range(1, s + 1):
            stage, owner = f"{path}.sweep{sweep}.stage{j}", f"{path}.sweep1.stage{j}"
            # All sweeps are one function, norms included: hence the owner of every row.
            w.norm(f"{stage}.norm1", s * k, weight=f"{owner}.norm1")
            w.conv(f"{stage}.conv1", s * k, middle, 1, weight=f"{owner}.conv1")
            w.norm(f"{stage}.norm2", middle, weight=f"{owner}.norm2")
            w.conv(f"{stage}.conv2", middle, k, 3, weight=f"{owner}.conv2")


def _rkcnn_transition(w: Writer, spec: RKCNN, path: str) -> None:
    """BN-ReLU-conv1x1, weighted channels where the network has attention, avgpool2."""
    k = spec.growth_rate
    if not spec.attention:
        transition(w, path, k, k)
        return
    w.norm(f"{path}.norm", k)
    w.conv(f"{path}.conv", k, k, 1)
    w.global_pool(f"{path}.attention.pool", k, w.size)
    w.linear(f"{path}.attention.squeeze", k, k // 2)
    w.linear(f"{path}.attention.excite", k // 2, k)
    w.avgpool(f"{path}.pool", k)


def cliquenet(w: Writer, spec: CliqueNet) -> None:
    """Stem, clique blocks with transitions between them, head over all blocks.

    Layer j's weights on all other layers are two convolutions, on those before it and on those after it. Stage I uses
    the first and one of the block's input, stage II the first again and the second.
    """
    k, layers = spec.growth_rate, spec.layers_per_block
    channels = spec.FIRST_WIDTH
    w.stem(channels)
    features: list[tuple[int, Size]] = []
    for i in range(1, spec.BLOCKS + 1):
        for j in range(1, layers + 1):
            path = f"block{i}.stage1.layer{j}"
            w.norm(f"{path}.norm", channels + (j - 1) * k)
            w.conv(f"{path}.input", channels, k, 3)
            if j > 1:
                w.conv(f"{path}.before", (j - 1) * k, k, 3)
        for j in range(1, layers + 1):
            path = f"block{i}.stage2.layer{j}"
            w.norm(f"{path}.norm", (layers - 1) * k)
            if j > 1:
                w.conv(f"{path}.before", (j - 1) * k, k, 3, weight=f"block{i}.stage1.layer{j}.before")
            if j < layers:
                w.conv(f"{path}.after", (layers - j) * k, k, 3)
        features.append((channels + layers * k, w.size))
        if i < spec.BLOCKS:
            channels = layers * k
            transition(w, f"transition{i}", channels, channels)
    w.multiscale_head(features)
