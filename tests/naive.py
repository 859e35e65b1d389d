"""Networks written down once more, straight from the papers, as functions over plain lists of weights.

Nothing here imports the modules under test. Weights are taken from any model by walking its parameters in the order of
registration, so a parity test also fixes that order: convolutions and norms as the forward pass meets them, time-steps
that share convolutions meeting only their own norms after the first step.
"""

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
        self.training = training
        self.running: list[tuple[Tensor, Tensor]] = []

    def conv_weight(self) -> Tensor:
        return next(self.convs).weight

    def bn_relu(self, x: Tensor, relu: bool = True) -> Tensor:
        m = next(self.norms)
        assert m.running_mean is not None
        assert m.running_var is not None
        mean, var = m.running_mean.clone(), m.running_var.clone()
        if self.training:
            batch_mean = x.mean((0, 2, 3))
            batch_var = ((x - batch_mean[None, :, None, None]) ** 2).mean((0, 2, 3))
            count = x.numel() / x.shape[1]
            self.running.append(
                (0.9 * mean + 0.1 * batch_mean.detach(), 0.9 * var + 0.1 * batch_var.detach() * count / (count - 1))
            )
            mean, var = batch_mean, batch_var
        y = (x - mean[None, :, None, None]) / (var[None, :, None, None] + 1e-5) ** 0.5
        y = y * m.weight[None, :, None, None] + m.bias[None, :, None, None]
        return y.clamp(min=0) if relu else y

    def assert_exhausted(self) -> None:
        for kind in (self.convs, self.norms, self.linears):
            assert next(kind, None) is None, "the model has more layers than the definition"


def conv(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def halve(x: Tensor) -> Tensor:
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    x = x[:, :, :h, :w]
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def classify(x: Tensor, w: Weights) -> Tensor:
    linear = next(w.linears)
    return x.mean((2, 3)) @ linear.weight.T + linear.bias


def rknet(x: Tensor, w: Weights, k: int, periods: list[tuple[int, int, int, bool]], bottleneck: bool) -> Tensor:
    """Paper, section 3.1; `periods` holds (m, s, r, share)."""
    y = conv(x, w.conv_weight())
    for i, (m, s, r, share) in enumerate(periods):
        kept: dict[tuple[int, int], Tensor] = {}
        for step in range(r):
            growths: list[Tensor] = []
            for j in range(s * m):
                z = w.bn_relu(torch.cat([y, *growths], 1))
                for c in range(2 if bottleneck else 1):
                    if c:
                        z = w.bn_relu(z)
                    if step == 0 or not share:
                        kept[j, c] = w.conv_weight()
                    z = conv(z, kept[j, c])
                assert z.shape[1] == k
                growths.append(z)
            for stage in range(s):
                y = y + torch.cat(growths[stage * m : (stage + 1) * m], 1)
        if i + 1 < len(periods):
            y = halve(conv(w.bn_relu(y), w.conv_weight()))
            assert y.shape[1] == periods[i + 1][0] * k
    return classify(w.bn_relu(y), w)


def densenet(x: Tensor, w: Weights, layers: int, bottleneck: bool) -> Tensor:
    """DenseNet paper, section 3."""
    features = [conv(x, w.conv_weight())]
    for block in range(3):
        for _ in range(layers):
            z = conv(w.bn_relu(torch.cat(features, 1)), w.conv_weight())
            if bottleneck:
                z = conv(w.bn_relu(z), w.conv_weight())
            features.append(z)
        if block < 2:
            features = [halve(conv(w.bn_relu(torch.cat(features, 1)), w.conv_weight()))]
    return classify(w.bn_relu(torch.cat(features, 1)), w)


def resnet(x: Tensor, w: Weights, blocks: int) -> Tensor:
    """ResNet paper, section 4.2, shortcut A."""
    x = w.bn_relu(conv(x, w.conv_weight()))
    for group, width in enumerate((16, 32, 64)):
        for block in range(blocks):
            down = group > 0 and block == 0
            z = w.bn_relu(conv(x, w.conv_weight(), stride=2 if down else 1))
            z = w.bn_relu(conv(z, w.conv_weight()), relu=False)
            if down:
                x = x[:, :, ::2, ::2]
                x = torch.cat([x, x.new_zeros(x.shape[0], width - x.shape[1], *x.shape[2:])], 1)
            x = (x + z).clamp(min=0)
    return classify(x, w)
