"""Integration of a period: stages, time-steps, sharing, and the Runge-Kutta method behind them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rksearch.arch.reader import Reader
from rksearch.arch.spec import check_positive
from rksearch.arch.tableaux import Tableau, tableau
from rksearch.errors import SpecError

LEARNED = "learned"
"""Name of the paper's method, in which convolutions absorb the coefficients; others have that of their tableau."""

DEFAULT_SWEEPS = 2
"""Fixed-point sweeps of an implicit method: with one sweep, no stage would see another."""


@dataclass(frozen=True, kw_only=True)
class Solver:
    """A Runge-Kutta method whose coefficients stand outside of the convolutions.

    Stage i computes k_i = f_i(y + h Σ_j a_ij k_j), and the step returns y + h Σ_i b_i k_i. Stages on which the next
    state does not depend are left out (the last one of `bosh3` and of `dopri5`, which serve an error estimate).
    Implicit methods start from k = 0 and recompute all stages `sweeps` times, each sweep from the values of the one
    before; convolutions are the same in every sweep, batch norms each sweep's own.

    Attributes:
        tableau: name of the method, see `rksearch.arch.tableaux.TABLEAUX`.
        trainable: whether a_ij and b_i learn, starting from the tableau; an explicit method stays explicit.
        tie: whether all stages share their convolutions (paper, Eq. 6: one f for all stages); batch norms are not
            shared.
        h: step size, from 0.001 to 999.999 with at most three decimals.
        learn_h: whether h learns, starting from `h`. The time-steps of a period have one h, and one a and b.
        sweeps: fixed-point sweeps; 2 for explicit methods, which need none.

    Raises:
        SpecError: no such tableau, a number out of range, or choices that do not go together.
    """

    tableau: str
    trainable: bool = False
    tie: bool = False
    h: float = 1.0
    learn_h: bool = False
    sweeps: int = DEFAULT_SWEEPS

    def __post_init__(self) -> None:
        method = tableau(self.tableau).reduced()
        check_positive("sweeps", self.sweeps)
        if method.explicit and self.sweeps != DEFAULT_SWEEPS:
            raise SpecError(f"{self.tableau} is explicit and needs no sweeps, but got {self.sweeps}; leave them out")
        if self.sweeps < DEFAULT_SWEEPS:
            raise SpecError(f"an implicit method needs at least {DEFAULT_SWEEPS} sweeps, but got {self.sweeps}")
        if self.tie and method.stages == 1:
            raise SpecError(f"tying needs at least two stages, but {self.tableau} has one; leave `tie` out")
        if self.trainable and self.learn_h:
            raise SpecError("h cannot learn beside a_ij and b_i that learn: they absorb it; leave one of the two out")
        if isinstance(self.h, bool) or not 0 < self.h < 1000 or round(self.h, 3) != self.h:
            raise SpecError(
                "the step size h must be a number from 0.001 to 999.999 with at most three decimals, "
                f"but got {self.h!r}"
            )

    @cached_property
    def method(self) -> Tableau:
        """The tableau without the stages that the next state does not depend on."""
        return tableau(self.tableau).reduced()

    @property
    def evaluations(self) -> int:
        """Evaluations of a stage function in a time-step."""
        return self.method.stages * (1 if self.method.explicit else self.sweeps)

    @property
    def learned_numbers(self) -> int:
        """Count of the a_ij, b_i and h that learn."""
        s = self.method.stages
        coefficients = s * (s - 1) // 2 if self.method.explicit else s * s
        return (coefficients + s if self.trainable else 0) + int(self.learn_h)

    def __str__(self) -> str:
        h = f"{self.h:.3f}".rstrip("0").rstrip(".") if self.h != 1 else ""
        options = (
            ("+train", self.trainable),
            ("+tie", self.tie),
            (f"+sweeps{self.sweeps}", self.sweeps != DEFAULT_SWEEPS),
            (f"+h{h}{'learn' if self.learn_h else ''}", bool(h) or self.learn_h),
        )
        return f"@{self.tableau}" + "".join(text for text, given in options if given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """r time-steps of an s-stage Runge-Kutta method; all that a period of the residual family says.

    Attributes:
        s: stages of the method.
        r: time-steps; each applies the method once.
        share: whether the time-steps share their convolutions (batch norms are never shared).
        solver: the method where its coefficients stand outside of the convolutions; None for the paper's way, in which
            stages see the concatenation of what came before and the convolutions absorb a_ij, b_i and h.

    Raises:
        SpecError: a number is out of range, s is not the number of stages of the solver, or `share` is set where r = 1
            (a second name for one network).
    """

    s: int
    r: int
    share: bool = False
    solver: Solver | None = None

    def __post_init__(self) -> None:
        for field in ("s", "r"):
            check_positive(field, getattr(self, field))
        if self.share and self.r == 1:
            raise SpecError(
                f"sharing needs at least two time-steps, but got {self.s}x1s; "
                f"with r = 1 it changes nothing: write {self.s}x1"
            )
        if self.solver is not None and self.s != self.solver.method.stages:
            raise SpecError(
                f"{self.solver.tableau} evaluates {self.solver.method.stages} stages in a step, but got s = {self.s}; "
                f"write {self.solver.method.stages}x{self.r}@{self.solver.tableau}"
            )

    @property
    def method(self) -> str:
        """The period's part of a name: s x r, `s` where convolutions are shared, then the solver: `4x8s@rk4`."""
        return f"{self.s}x{self.r}{'s' if self.share else ''}{self.solver or ''}"

    @property
    def method_name(self) -> str:
        """The Runge-Kutta method as spaces and reports name it: `rk4+tie`, or `learned`."""
        return str(self.solver).removeprefix("@") if self.solver else LEARNED

    @property
    def evaluations(self) -> int:
        """Evaluations of a stage function in a time-step: s, in every sweep of an implicit method."""
        return self.solver.evaluations if self.solver else self.s


@dataclass(frozen=True, slots=True, kw_only=True)
class Period(Steps):
    """One period: a state of m growths integrated by an s-stage Runge-Kutta method over r time-steps.

    Attributes:
        m: growth multiple; the state has m * k channels, where k is the growth rate.
        s: stages of the method; each is a group of m densely connected layers.
        r: time-steps; each applies the method once.
        share: whether the time-steps share their convolutions (batch norms are never shared).
        solver: as in `Steps`. With a solver, a stage's m layers read the stage's own m * k channels and one another.

    Raises:
        SpecError: as `Steps`, or m is out of range.
    """

    m: int

    def __post_init__(self) -> None:
        check_positive("m", self.m)
        Steps.__post_init__(self)

    @property
    def layers_per_step(self) -> int:
        """Densely connected layers computed in one time-step: m for each evaluation of a stage."""
        return self.evaluations * self.m


def read_steps(reader: Reader) -> Steps:
    """Read `s x r`, an optional `s`, and an optional solver."""
    start = reader.at
    s = reader.integer("the number of stages s")
    reader.literal("x")
    r = reader.integer("the number of time-steps r")
    share = reader.optional("s")
    if share and r == 1:
        reader.at = start
        reader.fail(f"with r = 1 sharing changes nothing: write {s}x1 instead of {s}x1s")
    solver = read_solver(reader) if reader.optional("@") else None
    return Steps(s=s, r=r, share=share, solver=solver)


def read_solver(reader: Reader) -> Solver:
    """Read a tableau with its options, as in `rk4+tie`."""
    name = reader.word()
    if not name:
        reader.fail("expected the name of a tableau, for example rk4")
    trainable = reader.optional("+train")
    tie = reader.optional("+tie")
    sweeps = DEFAULT_SWEEPS
    if reader.optional("+sweeps"):
        sweeps = reader.integer("the number of sweeps")
        if sweeps == DEFAULT_SWEEPS:
            reader.fail(f"{DEFAULT_SWEEPS} sweeps are the default: leave `+sweeps{DEFAULT_SWEEPS}` out")
    h, learn_h = 1.0, False
    if reader.optional("+h"):
        learn_h = reader.optional("learn")
        if not learn_h:
            h = reader.decimal("the step size h")
            learn_h = reader.optional("learn")
            if h == 1:
                reader.fail(f"h = 1 is the default: write {'`+hlearn`' if learn_h else 'nothing'}")
    if reader.optional("+"):
        reader.at -= 1
        reader.fail("expected the options of a solver in the order +train +tie +sweepsN +hX +hlearn, each once")
    return Solver(tableau=name, trainable=trainable, tie=tie, h=h, learn_h=learn_h, sweeps=sweeps)
