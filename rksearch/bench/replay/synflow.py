"""A zero-cost proxy as a search: the networks of the highest SynFlow score in bands of size, without learning.

SynFlow (Tanaka and others, "Pruning neural networks without any data by iteratively conserving synaptic flow", NeurIPS
2020) as Abdelfattah and others ("Zero-cost proxies for lightweight NAS", ICLR 2021) use it: all parameters become their
magnitudes, batch norms pass their input on, and the score of an untrained network is the sum over its parameters of
parameter times gradient of the sum of outputs, for an image of ones. It grows with the size of a network, so that
networks are compared within bands of parameters alone. It needs networks that can be built, and so a table of real
trainings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from rksearch.arch import parse
from rksearch.bench.replay.table import Table


class SynFlow:
    """Proposes the best of each band, in random order; then the second best of each, and so on.

    Args:
        table: the members; there is one band for each training.
        trials: number of trainings.
        seed: seed of the initial weights and of the order.
    """

    def __init__(self, table: Table, *, trials: int, seed: int) -> None:
        members = sorted(table.members.values(), key=lambda own: (own.params, own.arch))
        bands = [
            [own.arch for own in members[len(members) * i // trials : len(members) * (i + 1) // trials]]
            for i in range(trials)
        ]
        ranked = [sorted(band, key=lambda arch: -score(table, arch, seed=seed)) for band in bands]
        rng = random.Random(seed)
        order: list[str] = []
        for place in range(max(map(len, ranked))):
            level = [band[place] for band in ranked if place < len(band)]
            rng.shuffle(level)
            order += level
        self._left = order[::-1]
        self._taken: set[str] = set()

    def propose(self, running: Sequence[str]) -> str | None:
        """The next in the order that is not taken."""
        self._taken |= set(running)
        while self._left:
            arch = self._left.pop()
            if arch not in self._taken:
                return arch
        return None

    def learn(self, arch: str, error_pct: float) -> None:
        """Nothing is learned; what was trained is taken."""
        self._taken.add(arch)


def score(table: Table, arch: str, *, seed: int) -> float:
    """Logarithm of the SynFlow score of an untrained network."""
    import torch

    from rksearch.models import build

    dataset = table.space.definition.dataset
    torch.manual_seed(seed)
    model = build(parse(arch), dataset).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    # In evaluation a new batch norm divides by one and subtracts nothing.
    model(torch.ones(1, dataset.channels, dataset.height, dataset.width, dtype=torch.float64)).sum().backward()
    with torch.no_grad():
        total = sum(float((p * p.grad).abs().sum()) for p in model.parameters() if p.grad is not None)
    return math.log(total) if total > 0 else -math.inf
