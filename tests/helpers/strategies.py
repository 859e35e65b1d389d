"""Random architectures for property tests."""

from typing import Any

from hypothesis import strategies as st

from rksearch.arch import (
    RKCNN,
    ArchSpec,
    CliqueNet,
    DenseNet,
    ImageNetDenseNet,
    Period,
    PreActResNet,
    ResidualRKNet,
    ResNet,
    RKNet,
    Solver,
    Steps,
)
from rksearch.arch.tableaux import TABLEAUX


@st.composite
def solvers(draw: st.DrawFn) -> Solver:
    name = draw(st.sampled_from(list(TABLEAUX)))
    method = TABLEAUX[name].reduced()
    trainable = draw(st.booleans())
    return Solver(
        tableau=name,
        trainable=trainable,
        tie=draw(st.booleans()) if method.stages > 1 else False,
        h=draw(st.sampled_from([1.0, 0.5, 2.0]) | st.integers(1, 3000).map(lambda n: n / 1000)),
        learn_h=False if trainable else draw(st.booleans()),
        sweeps=2 if method.explicit else draw(st.integers(2, 3)),
    )


@st.composite
def _steps(draw: st.DrawFn, most: int, solver: st.SearchStrategy[Solver | None]) -> dict[str, Any]:
    chosen = draw(solver)
    r = draw(st.integers(1, most))
    return {
        "s": chosen.method.stages if chosen else draw(st.integers(1, most)),
        "r": r,
        "share": draw(st.booleans()) if r > 1 else False,
        "solver": chosen,
    }


@st.composite
def periods(
    draw: st.DrawFn,
    most: int = 4,
    solver: st.SearchStrategy[Solver | None] = st.none(),  # noqa: B008
) -> Period:
    return Period(m=draw(st.integers(1, most)), **draw(_steps(most, solver)))


def rknets(
    most: int = 4,
    most_periods: int = 4,
    most_growth: int = 16,
    solver: st.SearchStrategy[Solver | None] = st.none(),  # noqa: B008
) -> st.SearchStrategy[RKNet]:
    return st.builds(
        RKNet,
        growth_rate=st.integers(1, most_growth),
        periods=st.lists(periods(most, solver), min_size=1, max_size=most_periods).map(tuple),
        bottleneck=st.booleans(),
    )


def residual_rknets(most: int, solver: st.SearchStrategy[Solver | None]) -> st.SearchStrategy[ResidualRKNet]:
    steps = st.builds(lambda fields: Steps(**fields), _steps(most, solver))
    return st.builds(ResidualRKNet, periods=st.lists(steps, min_size=1, max_size=3).map(tuple))


@st.composite
def rkcnns(draw: st.DrawFn, most: int) -> RKCNN:
    variant = draw(st.sampled_from(RKCNN.VARIANTS))
    stages = st.integers(1 if variant == "E" else 2, most + 1)
    chosen = draw(st.lists(st.tuples(stages, st.integers(1, 2)), min_size=1, max_size=3))
    several = st.booleans() if len(chosen) > 1 else st.just(False)
    return RKCNN(
        variant=variant,
        growth_rate=draw(st.integers(2, 16)),
        periods=tuple(chosen),
        neck=draw(st.integers(1, 2)),
        updates=1 if variant == "E" else draw(st.integers(1, 3)),
        dropout_pct=draw(st.integers(0, 50)) if len(chosen) > 1 else 0,
        attention=draw(several),
        multiscale=draw(several),
    )


def by_family(most: int = 4) -> dict[str, st.SearchStrategy[ArchSpec]]:
    """Small architectures of every kind; ImageNet's DenseNets, which are large, are left out."""
    small, growth = st.integers(1, most), st.integers(1, 16)
    return {
        "rknet": rknets(most),
        "rknet_solver": rknets(min(most, 2), 2, solver=solvers()),
        "residual": residual_rknets(min(most, 3), st.none()),
        "residual_solver": residual_rknets(min(most, 2), solvers() | st.none()),
        "rkcnn": rkcnns(min(most, 3)),
        "densenet": st.builds(lambda n, k: DenseNet(depth=3 * n + 4, growth_rate=k), small, growth),
        "densenet_bc": st.builds(lambda n, k: DenseNet(depth=6 * n + 4, growth_rate=k, bottleneck=True), small, growth),
        "resnet": st.builds(lambda n: ResNet(depth=6 * n + 2), small),
        "preact_resnet": st.builds(lambda n: PreActResNet(depth=6 * n + 2), small),
        "preact_resnet_b": st.builds(lambda n: PreActResNet(depth=9 * n + 2, bottleneck=True), small),
        "cliquenet": st.builds(lambda k, n: CliqueNet(growth_rate=k, layers=3 * (n + 1)), growth, small),
    }


def archs(most: int = 4) -> st.SearchStrategy[ArchSpec]:
    return st.one_of(list(by_family(most).values()))


def all_specs(most: int = 12) -> st.SearchStrategy[ArchSpec]:
    """Specs that are only named, never built."""
    imagenet = st.builds(ImageNetDenseNet, depth=st.sampled_from(list(ImageNetDenseNet.PUBLISHED)))
    return st.one_of(*by_family(most).values(), imagenet)
