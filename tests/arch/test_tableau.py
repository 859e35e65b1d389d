import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rksearch.arch.tableaux import TABLEAUX, Surd, Tableau, rooted_trees, tableau
from rksearch.errors import SpecError

# name: order, stages, explicit; from the methods' publications
EXPECTED = {
    "euler": (1, 1, True),
    "midpoint": (2, 2, True),
    "heun2": (2, 2, True),
    "ralston2": (2, 2, True),
    "kutta3": (3, 3, True),
    "heun3": (3, 3, True),
    "ralston3": (3, 3, True),
    "ssprk3": (3, 3, True),
    "rk4": (4, 4, True),
    "rk38": (4, 4, True),
    "bosh3": (3, 4, True),
    "dopri5": (5, 7, True),
    "backeuler": (1, 1, False),
    "impmid": (2, 1, False),
    "gauss2": (4, 2, False),
    "radau2": (3, 2, False),
}


def test_derived_properties_are_the_published_ones():
    assert {name: (t.order, t.stages, t.explicit) for name, t in TABLEAUX.items()} == EXPECTED


def test_the_number_of_rooted_trees():
    assert [len(rooted_trees(n)) for n in range(1, 8)] == [1, 1, 2, 4, 9, 20, 48]
    assert all(tree.size == 6 for tree in rooted_trees(6))
    assert len(set(rooted_trees(6))) == 20
    # The density of the tree that is one path is a factorial, that of the bush its size.
    assert {max(t.density for t in rooted_trees(n)) for n in range(1, 7)} == {math.factorial(n) for n in range(1, 7)}
    assert min(t.density for t in rooted_trees(5)) == 5


# The 17 conditions up to order 5, written out once more over a, b, c (Hairer, Nørsett, Wanner, table II.2.2).
def conditions(a, b, c):
    n = range(len(b))
    ac = [sum(a[i][j] * c[j] for j in n) for i in n]
    ac2 = [sum(a[i][j] * c[j] ** 2 for j in n) for i in n]
    ac3 = [sum(a[i][j] * c[j] ** 3 for j in n) for i in n]
    aac = [sum(a[i][j] * ac[j] for j in n) for i in n]
    aac2 = [sum(a[i][j] * ac2[j] for j in n) for i in n]
    aaac = [sum(a[i][j] * aac[j] for j in n) for i in n]
    acac = [sum(a[i][j] * c[j] * ac[j] for j in n) for i in n]
    terms = {
        1: [([1 for _ in n], 1)],
        2: [(c, 2)],
        3: [([x**2 for x in c], 3), (ac, 6)],
        4: [([x**3 for x in c], 4), ([c[i] * ac[i] for i in n], 8), (ac2, 12), (aac, 24)],
        5: [
            ([x**4 for x in c], 5),
            ([c[i] ** 2 * ac[i] for i in n], 10),
            ([c[i] * ac2[i] for i in n], 15),
            ([c[i] * aac[i] for i in n], 30),
            ([ac[i] ** 2 for i in n], 20),
            (ac3, 20),
            (acac, 40),
            (aac2, 60),
            (aaac, 120),
        ],
    }
    return {
        order: [abs(sum(b[i] * phi[i] for i in n) - 1 / gamma) < 1e-12 for phi, gamma in group]
        for order, group in terms.items()
    }


@pytest.mark.parametrize("name", TABLEAUX)
def test_order_agrees_with_the_seventeen_conditions_written_out(name):
    t = TABLEAUX[name]
    a, b, c = [[float(x) for x in row] for row in t.a], [float(x) for x in t.b], [float(x) for x in t.c]
    held = conditions(a, b, c)
    for order, results in held.items():
        assert sorted(results) == sorted(t.satisfies(tree) for tree in rooted_trees(order))
    assert t.order == max(p for p in held if all(all(held[q]) for q in range(1, p + 1)))


def integrate(t: Tableau, steps: int) -> float:
    """Largest error at time 1 of x' = 1, y' = y cos x - z / 2, z' = y z (a system in which no condition is idle),

    against a reference of its own; implicit stages by iteration until they stand still.
    """
    return max(abs(u - v) for u, v in zip(run(t, steps), run(TABLEAUX["dopri5"], 512), strict=True))


def run(t: Tableau, steps: int) -> list[float]:
    def slope(u):
        x, y, z = u
        return [1.0, y * math.cos(x) - z / 2, y * z]

    a, b = [[float(v) for v in row] for row in t.a], [float(v) for v in t.b]
    h, u = 1.0 / steps, [0.0, 1.0, 0.5]
    for _ in range(steps):
        ks = [[0.0] * 3 for _ in b]
        for _ in range(len(b) if t.explicit else 60):
            ks = [
                slope([u[d] + h * sum(w * k[d] for w, k in zip(row, ks, strict=True)) for d in range(3)]) for row in a
            ]
        u = [u[d] + h * sum(w * k[d] for w, k in zip(b, ks, strict=True)) for d in range(3)]
    return u


@pytest.mark.parametrize("name", TABLEAUX)
def test_the_error_shrinks_as_the_order_says(name):
    steps = 16
    slope = math.log2(integrate(TABLEAUX[name], steps) / integrate(TABLEAUX[name], 2 * steps))
    # Dormand-Prince was designed for a small leading error term: at steps this large the next term still outweighs it.
    surplus = 1.1 if name == "dopri5" else 0.25
    assert TABLEAUX[name].order - 0.25 < slope < TABLEAUX[name].order + surplus


def test_reduction_drops_only_what_the_next_state_does_not_need():
    assert {name: t.reduced().stages for name, t in TABLEAUX.items() if t.reduced() != t} == {"bosh3": 3, "dopri5": 6}
    assert tableau("bosh3").reduced().a == tableau("ralston3").a
    for name in ("bosh3", "dopri5"):
        reduced = tableau(name).reduced()
        assert reduced.order == tableau(name).order
        assert run(reduced, 8) == pytest.approx(run(tableau(name), 8), rel=1e-14)


@pytest.mark.parametrize("name", TABLEAUX)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_one_changed_coefficient_lowers_the_order_or_is_refused(name, data):
    t = TABLEAUX[name].reduced()
    i, j = data.draw(st.integers(0, t.stages - 1)), data.draw(st.integers(0, t.stages - 1))
    off = data.draw(st.fractions(Fraction(1, 100), 1, max_denominator=100))
    row = tuple(x + off if at == j else x for at, x in enumerate(t.a[i]))
    a = (*t.a[:i], row, *t.a[i + 1 :])
    with pytest.raises(SpecError, match=rf"row {i + 1} must sum to its node"):
        replace(t, a=a)
    b = tuple(x + off if at == j else x for at, x in enumerate(t.b))
    with pytest.raises(SpecError, match="weights must sum to 1"):
        replace(t, b=b)
    if t.b[i]:
        moved = replace(t, a=a, c=tuple(x + off if at == i else x for at, x in enumerate(t.c)))
        assert moved.order < t.order or t.order == 1


def test_shapes_and_exactness_are_checked():
    half = Fraction(1, 2)
    with pytest.raises(SpecError, match="a must be s x s"):
        Tableau(name="x", title="", source="", a=((half,),), b=(half, half), c=(half, half))
    with pytest.raises(SpecError, match=r"exact fraction, but got 1\.0"):
        Tableau(name="x", title="", source="", a=((Fraction(0),),), b=(1.0,), c=(Fraction(0),))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="did you mean 'heun2'"):
        tableau("heun-2")
    with pytest.raises(FrozenInstanceError):
        tableau("rk4").b = ()  # type: ignore[misc]


fractions = st.fractions(-3, 3, max_denominator=12)
surds = st.builds(Surd, fractions, fractions)


@given(surds, surds, fractions)
def test_surds_compute_as_real_numbers_do(x, y, f):
    assert float(x + y) == pytest.approx(float(x) + float(y), abs=1e-12)
    assert float(x * y) == pytest.approx(float(x) * float(y), abs=1e-12)
    assert float(f - x) == pytest.approx(float(f) - float(x), abs=1e-12)
    assert x * (y + f) == x * y + f * x
    assert (x == y) == (float(x) == pytest.approx(float(y), abs=1e-12))
    assert x - x == 0
    assert hash(Surd(f, Fraction(0))) == hash(f)


def test_surds_print_as_one_writes_them():
    assert str(tableau("gauss2").a[0][1]) == "1/4 - √3/6"
    assert str(Surd(Fraction(0), Fraction(-2))) == "-2√3"
    assert str(Surd(Fraction(1, 2), Fraction(0))) == "1/2"


def test_no_torch_is_imported():
    code = "import sys, rksearch.arch.tableaux; assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
