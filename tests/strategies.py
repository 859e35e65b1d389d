"""Random architectures for property tests."""

from hypothesis import strategies as st

from rksearch.spec import ArchSpec, DenseNet, Period, ResNet, RKNet


@st.composite
def periods(draw: st.DrawFn, most: int = 4) -> Period:
    r = draw(st.integers(1, most))
    return Period(
        m=draw(st.integers(1, most)),
        s=draw(st.integers(1, most)),
        r=r,
        share=draw(st.booleans()) if r > 1 else False,
    )


def rknets(most: int = 4, most_periods: int = 4, most_growth: int = 16) -> st.SearchStrategy[RKNet]:
    return st.builds(
        RKNet,
        growth_rate=st.integers(1, most_growth),
        periods=st.lists(periods(most), min_size=1, max_size=most_periods).map(tuple),
        bottleneck=st.booleans(),
    )


def archs(most: int = 4) -> st.SearchStrategy[ArchSpec]:
    small = st.integers(1, most)
    return st.one_of(
        rknets(most),
        st.builds(lambda n, k: DenseNet(depth=3 * n + 4, growth_rate=k), small, st.integers(1, 16)),
        st.builds(lambda n, k: DenseNet(depth=6 * n + 4, growth_rate=k, bottleneck=True), small, st.integers(1, 16)),
        st.builds(lambda n: ResNet(depth=6 * n + 2), small),
    )
