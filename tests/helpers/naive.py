"""Networks written down once more, straight from the papers, as functions over plain lists of weights.

Nothing here imports the modules under test. Weights are taken from any model by walking its parameters in the order of
registration, so a parity test also fixes that order: convolutions and norms as the forward pass meets them, time-steps
that share convolutions meeting only their own norms after the first step.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Weights:
    """Hands out a model's convolutions, norms and linear layers one by one, each module once."""

    def __init__(self, model: nn.Module, training: bool) -> None:
        leaves = [m for m in model.modules() if not list(m.children())]
        self.convs = iter([m for m in leaves if isinstance(m, nn.Conv2d)])
        self.norms = iter([m for m in leaves if isinstance(m, nn.BatchNorm2d)])
        self.linears = iter([m for m in leaves if isinstance(m, nn.Linear)])
        self.methods = iter([m for m in leaves if type(m).__name__ == "Coefficients"])
        self.training = training
        self._running: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    @property
    def running(self) -> list[tuple[Tensor, Tensor]]:
        return list(self._running.values())

    def conv_weight(self) -> Tensor:
        return next(self.convs).weight

    def norm(self) -> nn.BatchNorm2d:
        return next(self.norms)

    def bn_relu(self, x: Tensor, relu: bool = True, norm: nn.BatchNorm2d | None = None) -> Tensor:
        m = norm or next(self.norms)
        assert m.running_mean is not None
        assert m.running_var is not None
        mean, var = self._running.get(m) or (m.running_mean.clone(), m.running_var.clone())
        if self.training:
            batch_mean = x.mean((0, 2, 3))
            batch_var = ((x - batch_mean[None, :, None, None]) ** 2).mean((0, 2, 3))
            count = x.numel() / x.shape[1]
            self._running[m] = (
                0.9 * mean + 0.1 * batch_mean.detach(),
                0.9 * var + 0.1 * batch_var.detach() * count / (count - 1),
            )
            mean, var = batch_mean, batch_var
        y = (x - mean[None, :, None, None]) / (var[None, :, None, None] + 1e-5) ** 0.5
        y = y * m.weight[None, :, None, None] + m.bias[None, :, None, None]
        return y.clamp(min=0) if relu else y

    def assert_exhausted(self) -> None:
        for kind in (self.convs, self.norms, self.linears, self.methods):
            assert next(kind, None) is None, "the model has more layers than the definition"


def conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def halve(x: Tensor) -> Tensor:
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    x = x[:, :, :h, :w]
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def stem(x: Tensor, w: Weights, norm: bool = False) -> Tensor:
    """conv3x3, or for images of 128 pixels and more conv7x7/2-BN-ReLU-maxpool3/2."""
    if x.shape[2] < 128:
        x = conv(x, w.conv_weight())
        return w.bn_relu(x) if norm else x
    x = w.bn_relu(conv(x, w.conv_weight(), stride=2))
    return (
        F.unfold(x, 3, padding=1, stride=2)
        .view(x.shape[0], x.shape[1], 9, -1)
        .amax(2)
        .unflatten(2, (-(-x.shape[2] // 2), -(-x.shape[3] // 2)))
    )


def classify(x: Tensor, w: Weights) -> Tensor:
    linear = next(w.linears)
    return x.mean((2, 3)) @ linear.weight.T + linear.bias


class Solver(NamedTuple):
    """A method with coefficients: those of the tableau, which a trained method replaces by its own."""

    a: list[list[float]]
    b: list[float]
    h: float
    sweeps: int
    tie: bool


class Steps(NamedTuple):
    s: int
    r: int
    share: bool
    solver: Solver | None


Stage = Callable[[Tensor, Callable[[int], Tensor]], Tensor]
"""A stage function: what it sees, and the weight of its n-th convolution."""


def rknet(x: Tensor, w: Weights, k: int, periods: list[tuple[int, Steps]], bottleneck: bool) -> Tensor:
    """Paper, section 3.1; `periods` holds m and how it is integrated."""

    def layer(z: Tensor, weight: Callable[[int], Tensor]) -> Tensor:
        z = conv(w.bn_relu(z), weight(0))
        z = conv(w.bn_relu(z), weight(1)) if bottleneck else z
        assert z.shape[1] == k
        return z

    def stage(m: int) -> Stage:
        def slope(z: Tensor, weight: Callable[[int], Tensor]) -> Tensor:
            growths: list[Tensor] = []
            for j in range(m):
                growths.append(layer(torch.cat([z, *growths], 1), shifted(weight, 2 * j)))
            return torch.cat(growths, 1)

        return slope

    y = stem(x, w)
    for i, (m, steps) in enumerate(periods):
        if steps.solver:
            y = solve(y, w, steps, stage(m))
        else:
            weights = kept(w)
            for step in range(steps.r):
                growths: list[Tensor] = []
                for j in range(steps.s * m):
                    at = (0 if steps.share else step, j)
                    seen = torch.cat([y, *growths], 1)
                    growths.append(layer(seen, of(weights, at)))
                for g in range(steps.s):
                    y = y + torch.cat(growths[g * m : (g + 1) * m], 1)
        if i + 1 < len(periods):
            y = halve(conv(w.bn_relu(y), w.conv_weight()))
            assert y.shape[1] == periods[i + 1][0] * k
    return classify(w.bn_relu(y), w)


def kept(w: Weights) -> Callable[[tuple[int, ...]], Tensor]:
    """Convolution weights by key, the next ones of the model when a key is new."""
    known: dict[tuple[int, ...], Tensor] = {}

    def get(key: tuple[int, ...]) -> Tensor:
        if key not in known:
            known[key] = w.conv_weight()
        return known[key]

    return get


def of(weights: Callable[[tuple[int, ...]], Tensor], key: tuple[int, ...]) -> Callable[[int], Tensor]:
    return lambda n: weights((*key, n))


def shifted(weight: Callable[[int], Tensor], by: int) -> Callable[[int], Tensor]:
    return lambda n: weight(by + n)


def solve(y: Tensor, w: Weights, steps: Steps, stage: Stage) -> Tensor:
    """y + h Σ b_i k_i with k_i = f_i(y + h Σ a_ij k_j), by as many fixed-point sweeps from k = 0 as the method has.

    An explicit method is solved by s sweeps too, but then a sweep would evaluate stages again; they are taken in order.
    """
    solver = steps.solver
    assert solver
    learned = next(w.methods)
    explicit = all(solver.a[i][j] == 0 for i in range(steps.s) for j in range(i, steps.s))
    a: list[list[float | Tensor]] = [list(row) for row in solver.a]
    b: list[float | Tensor] = list(solver.b)
    h: float | Tensor = solver.h
    numbers = dict(learned.named_parameters())
    if "b" in numbers:
        free = [(i, j) for i in range(steps.s) for j in range(steps.s) if not explicit or j < i]
        for n, (i, j) in enumerate(free):
            a[i][j] = numbers["a"][n]
        b = list(numbers["b"])
    h = numbers.get("h", h)
    weights = kept(w)
    for step in range(steps.r):
        ks: list[Tensor | None] = [None] * steps.s
        for _ in range(1 if explicit else solver.sweeps):
            new = list(ks)
            for i in range(steps.s):
                z = y
                for j, k in enumerate(new if explicit else ks):
                    if k is not None:
                        z = z + h * a[i][j] * k
                at = (0 if steps.share else step, 0 if solver.tie else i)
                new[i] = stage(z, of(weights, at))
            ks = new
        for weight, k in zip(b, ks, strict=True):
            assert k is not None
            y = y + h * weight * k
    return y


def residual_rknet(x: Tensor, w: Weights, periods: list[Steps]) -> Tensor:
    """Paper, section 3.2, several stages by Eq. (4)."""

    def stage(z: Tensor, weight: Callable[[int], Tensor]) -> Tensor:
        return w.bn_relu(conv(w.bn_relu(conv(z, weight(0))), weight(1)))

    y = stem(x, w, norm=True)
    for i, steps in enumerate(periods):
        if i:
            y = residual_block(y, w, down=True)
        if steps.solver:
            y = solve(y, w, steps, stage)
            continue
        weights = kept(w)
        for step in range(steps.r):
            slopes: list[Tensor] = []
            for n in range(steps.s):
                at = (0 if steps.share else step, n)
                slopes.append(stage(torch.cat([y, *slopes], 1), of(weights, at)))
            y = y + sum(slopes)
    return classify(y, w)


def densenet(x: Tensor, w: Weights, blocks: list[int], bottleneck: bool) -> Tensor:
    """DenseNet paper, section 3."""
    features = [stem(x, w)]
    for i, layers in enumerate(blocks):
        for _ in range(layers):
            z = conv(w.bn_relu(torch.cat(features, 1)), w.conv_weight())
            if bottleneck:
                z = conv(w.bn_relu(z), w.conv_weight())
            features.append(z)
        if i + 1 < len(blocks):
            features = [halve(conv(w.bn_relu(torch.cat(features, 1)), w.conv_weight()))]
    return classify(w.bn_relu(torch.cat(features, 1)), w)


def widen(x: Tensor) -> Tensor:
    """Every second pixel, and as many channels of zeros again (ResNet's shortcut A)."""
    x = x[:, :, ::2, ::2]
    return torch.cat([x, torch.zeros_like(x)], 1)


def residual_block(x: Tensor, w: Weights, down: bool) -> Tensor:
    z = w.bn_relu(conv(x, w.conv_weight(), stride=2 if down else 1))
    z = w.bn_relu(conv(z, w.conv_weight()), relu=False)
    return ((widen(x) if down else x) + z).clamp(min=0)


def resnet(x: Tensor, w: Weights, blocks: int) -> Tensor:
    """ResNet paper, section 4.2, shortcut A."""
    x = stem(x, w, norm=True)
    for group in range(3):
        for block in range(blocks):
            x = residual_block(x, w, down=group > 0 and block == 0)
    return classify(x, w)


def preact_resnet(x: Tensor, w: Weights, blocks: int, bottleneck: bool) -> Tensor:
    """Pre-activation paper, figure 1 (b) and, for bottlenecks, its public code's projections."""
    x = stem(x, w)
    for group in range(3):
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            z = w.bn_relu(x)
            if bottleneck:
                x = conv(z, w.conv_weight(), stride) if block == 0 else x
                z = conv(z, w.conv_weight())
                z = conv(w.bn_relu(z), w.conv_weight(), stride)
            else:
                x = widen(x) if stride == 2 else x
                z = conv(z, w.conv_weight(), stride)
            x = x + conv(w.bn_relu(z), w.conv_weight())
    return classify(w.bn_relu(x), w)


def rkcnn(
    x: Tensor, w: Weights, variant: str, periods: list[tuple[int, int]], updates: int, drop: float, ms: bool, att: bool
) -> Tensor:
    """The authors' later networks: an explicit pass, and sweeps by functions of their own."""

    def draw() -> Callable[[Tensor], Tensor]:
        n1, c1, n2, c2 = w.norm(), w.conv_weight(), w.norm(), w.conv_weight()
        return lambda z: conv(w.bn_relu(conv(w.bn_relu(z, norm=n1), c1), norm=n2), c2)

    def weigh(x: Tensor) -> Tensor:
        squeeze, excite = next(w.linears), next(w.linears)
        z = (x.mean((2, 3)) @ squeeze.weight.T + squeeze.bias).clamp(min=0)
        z = 1 / (1 + (-(z @ excite.weight.T + excite.bias)).exp())
        return x * z[:, :, None, None]

    x = stem(x, w)
    scales = []
    for i, (s, r) in enumerate(periods):
        for _ in range(r):
            v: list[Tensor] = []
            for _ in range(s):
                v.append(draw()(torch.cat([x, *v], 1)))
            if variant != "E":
                functions = [draw() for _ in range(s)]
                for _ in range(updates):
                    old = list(v)
                    for j, f in enumerate(functions):
                        source = v if variant == "I" else old
                        v[j] = f(torch.cat([x, *(source[n] for n in range(s) if n != j)], 1))
            x = x + sum(v)
        scales.append(x)
        if i + 1 < len(periods):
            x = F.dropout(conv(w.bn_relu(x), w.conv_weight()), drop, w.training)
            x = halve(weigh(x) if att else x)
    return classify_scales(scales if ms else scales[-1:], w)


def classify_scales(scales: list[Tensor], w: Weights) -> Tensor:
    pooled = torch.cat([w.bn_relu(x).mean((2, 3)) for x in scales], 1)
    linear = next(w.linears)
    return pooled @ linear.weight.T + linear.bias


def cliquenet(x: Tensor, w: Weights, k: int, layers: int) -> Tensor:
    """CliqueNet paper, Eqs. 1 and 2: layer j by weights W_ij on layer i, W_0j on the block's input."""
    x = stem(x, w)
    scales = []
    for block in range(3):
        between: dict[tuple[int, int], Tensor] = {}
        values: list[Tensor] = []
        for j in range(layers):
            z = w.bn_relu(torch.cat([x, *values], 1))
            total = conv(z[:, : x.shape[1]], w.conv_weight())
            if j:
                for i, weight in enumerate(w.conv_weight().split(k, 1)):
                    between[i, j] = weight
                    total = total + conv(z[:, x.shape[1] + i * k :][:, :k], weight)
            values.append(total)
        for j in range(layers):
            rest = [i for i in range(layers) if i != j]
            if j + 1 < layers:
                for i, weight in zip(range(j + 1, layers), w.conv_weight().split(k, 1), strict=True):
                    between[i, j] = weight
            z = w.bn_relu(torch.cat([values[i] for i in rest], 1))
            values[j] = sum(
                (conv(z[:, n * k : (n + 1) * k], between[i, j]) for n, i in enumerate(rest)), z.new_zeros(())
            )
        scales.append(torch.cat([x, *values], 1))
        if block < 2:
            x = halve(conv(w.bn_relu(torch.cat(values, 1)), w.conv_weight()))
    return classify_scales(scales, w)
