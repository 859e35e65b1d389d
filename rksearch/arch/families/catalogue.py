"""Every family of architectures in one line: what it is, where it comes from, and a name to start from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rksearch.arch import parse
from rksearch.errors import SpecError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family.

    Attributes:
        key: machine name, as in `ArchSpec.family`.
        title: what it is.
        source: where it was published.
        sample: a name.
        relatives: further names worth listing; the paper's own rows are added by `list_models`.
    """

    key: str
    title: str
    source: str
    sample: str
    relatives: tuple[str, ...] = ()


FAMILIES: tuple[Family, ...] = (
    Family(
        key="dense",
        title="RKNet, dense layers BN-ReLU-conv3x3",
        source="arXiv 1802.08831, section 3.1",
        sample="RKNet-k12-m2_14_26-6x1_1x1_1x1",
        relatives=("RKNet-k12-m2_14_26-4x2@rk4_1x1_1x1",),
    ),
    Family(
        key="dense_bc",
        title="RKNet, dense layers with bottlenecks",
        source="arXiv 1802.08831, section 3.1",
        sample="RKNet-BC-k12-m2_9_12-1x8s_1x2s_1x2s",
        relatives=(
            "RKNet-BC-k12-m2_9_12-4x2s@rk4+tie_1x2_1x2",
            "RKNet-BC-k12-m2_9_12-2x4@heun2+train_1x2_1x2",
            "RKNet-BC-k12-m2_9_12-2x2@gauss2_1x2_1x2",
        ),
    ),
    Family(
        key="residual",
        title="RKNet, residual blocks of ResNet as stages",
        source="arXiv 1802.08831, section 3.2",
        sample="RKNet-Res-1x3s_1x2s_1x2s",
        relatives=("RKNet-Res-4x1@rk4_2x1@heun2_2x1@heun2", "RKNet-Res-2x2s@radau2+tie_2x1@gauss2_1x2@backeuler"),
    ),
    Family(
        key="rkcnn_e",
        title="RKCNN-E, explicit, k channels in every period",
        source="public code of the RKNet authors, ZhuMai/RKCNN",
        sample="RKCNN-E-k80-5x1_5x1_5x1-att-ms",
        relatives=("RKCNN-E-k120-5x1_5x1_5x1-att-ms",),
    ),
    Family(
        key="rkcnn_i",
        title="RKCNN-I, implicit, Gauss-Seidel sweeps",
        source="public code of the RKNet authors, ZhuMai/RKCNN",
        sample="RKCNN-I-k80-5x1_5x1_5x1-att-ms",
        relatives=("RKCNN-I-k120-5x1_5x1_5x1-att-ms",),
    ),
    Family(
        key="rkcnn_r",
        title="RKCNN-R, implicit, Jacobi sweeps",
        source="public code of the RKNet authors, ZhuMai/RKCNN",
        sample="RKCNN-R-k80-5x1_5x1_5x1-att-ms",
        relatives=("RKCNN-R-k120-5x1_5x1_5x1-att-ms",),
    ),
    Family(
        key="densenet",
        title="DenseNet, three equal blocks",
        source="arXiv 1608.06993",
        sample="DenseNet-40-k12",
    ),
    Family(
        key="densenet_bc",
        title="DenseNet-BC, three equal blocks",
        source="arXiv 1608.06993",
        sample="DenseNet-BC-100-k12",
    ),
    Family(
        key="densenet_imagenet",
        title="DenseNet-BC for ImageNet, four blocks",
        source="arXiv 1608.06993, table 1",
        sample="DenseNet-121",
    ),
    Family(
        key="resnet",
        title="ResNet for CIFAR, basic blocks",
        source="arXiv 1512.03385, section 4.2",
        sample="ResNet-20",
    ),
    Family(
        key="preact_resnet",
        title="pre-activation ResNet, that is Euler's method",
        source="arXiv 1603.05027",
        sample="PreActResNet-110",
    ),
    Family(
        key="preact_resnet_b",
        title="pre-activation ResNet with bottlenecks",
        source="arXiv 1603.05027",
        sample="PreActResNet-B-164",
        relatives=("PreActResNet-B-1001",),
    ),
    Family(
        key="cliquenet",
        title="CliqueNet, layers refined from one another",
        source="arXiv 1802.10419",
        sample="CliqueNet-k36-T12",
        relatives=("CliqueNet-k64-T15", "CliqueNet-k80-T15", "CliqueNet-k80-T18"),
    ),
)


def list_models(pattern: str = "*", *, family: str | None = None) -> list[str]:
    """Names that `rksearch.create` builds: every row of the paper's tables, and every family's samples.

    The families hold infinitely many more; see `rksearch.arch` for how names are formed.

    Args:
        pattern: shell wildcards, for example `RKNet-Res-*` or `*@rk4*`.
        family: key of a family.

    Returns:
        Names, each once: family by family, the paper's in its order first.

    Raises:
        SpecError: there is no such family.
    """
    from rksearch.arch.paper import paper_rows

    keys = [f.key for f in FAMILIES]
    if family is not None and family not in keys:
        raise SpecError(f"the family must be one of {', '.join(keys)}, but got {family!r}{nearest(family, keys)}")
    names = [*(row.arch for row in paper_rows()), *(name for f in FAMILIES for name in (f.sample, *f.relatives))]
    by_key: dict[str, list[str]] = {key: [] for key in keys}
    for name in dict.fromkeys(names):
        by_key[parse(name).family].append(name)
    chosen: Iterable[str] = keys if family is None else [family]
    return [name for key in chosen for name in by_key[key] if fnmatchcase(name, pattern)]
