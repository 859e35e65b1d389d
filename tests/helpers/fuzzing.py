"""Damaged inputs of every kind, and what must hold for each: it works, or one line says what is wrong, in seconds."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rksearch.arch import parse
from rksearch.data.locations import VARIABLE, data_home
from rksearch.errors import LONGEST_MESSAGE, RksearchError
from rksearch.recipes.shipped import recipe
from rksearch.report.write import derived_files
from rksearch.results.environment import Environment
from rksearch.results.ledger import FILE_NAME, Ledger
from rksearch.results.status import run_status
from rksearch.space import load_space
from tests.helpers.command_line import TINY_SPACE
from tests.helpers.ledgers import complete, plan_record, space_record, trial

LIMIT_S = 5.0
"""CPU time for an input; the wall time of a busy machine says nothing."""

HANG_S = 120.0
"""Wall time after which an input hangs."""

LIMIT_BYTES = 10**9

EVIL: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, -1e308, 1e-320, "", " ", "0", "NaN",
    "nan", "inf", "x" * 5000, "\x00", "\u202e", "é", "🦊", "../../../etc", "[/b]", "{{7*7}}", "%s", "5_", "1e4", "0x10",
    "12", [], {}, [None], [[]], [0] * 300, {"": 0}, {"x": {"x": {"x": 1}}}, [1, "a", None], "9" * 5000, "null", "~",
    "2026-01-01", "2026-01-01T00:00:00", "9999-12-31T23:59:59-23:59", 3, 10**12, "RKNet-of-tomorrow", "s3://a:b@c/d?e=f",
    "folder:", "npz:", "folder:/dev/zero", "torchvision:", "RKNet", "ResNet-", "ResNet-8", "DenseNet-10-k2",
)  # fmt: skip
"""Values that break assumptions of types, ranges, encodings and nesting."""

SNIPPETS = (
    b"\x00", b"\xff\xfe", b"\n", b"\t", b" ", b":", b"- ", b"[", b"]", b"{", b"}", b",", b"'", b'"', b"#", b"*a",
    b"!!python/object:os.system ", b"<<: ", b"|", b">", b"0", b"-1", b"99999999999999999999", b"_", b".", b"e9", b"@",
    b"/", b"..", b"~", b"k", b"M", b"x", b"k4", b"-k", b"NaN", b"[" * 60, b"{a: " * 60, b"\xe2\x80\xae",
)  # fmt: skip
"""Bytes to insert."""


def mangled(content: bytes, rng: random.Random) -> bytes:
    """The content after one to four small damages: bytes flipped, cut, doubled, inserted or swapped."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 5, 40)))
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * rng.choice((1, 1, 2, 30))
            case 3:
                data[at:at] = rng.choice(SNIPPETS)
            case 4:
                data[at:end] = rng.choice(SNIPPETS)
            case _:
                other = rng.randrange(len(data) + 1)
                data[at:at] = data[other : other + rng.choice((3, 10, 60))]
    return bytes(data[:200_000])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values within a value of JSON."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def with_evil(value: Any, rng: random.Random) -> Any:
    """The value of JSON with one inner value changed, removed or added."""
    value = json.loads(json.dumps(value))
    path = rng.choice(list(places(value)))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    match rng.randrange(5):
        case 0:
            del inner[path[-1]]
        case 1 if isinstance(inner, dict):
            inner[rng.choice(("extra", "", "schema", "event", "epochs", "x" * 300))] = rng.choice(EVIL)
        case _:
            inner[path[-1]] = rng.choice(EVIL)
    return value


def checked_line(record: Mapping[str, Any]) -> bytes:
    """A line of the ledger whose checksum is right, whatever its values are."""
    rest = {key: value for key, value in record.items() if key not in ("schema", "crc")}
    body = json.dumps({"schema": record.get("schema", 2), **rest}, separators=(",", ":")).encode()
    return b'%s,"crc":"%08x"}' % (body[:-1], zlib.crc32(body))


@contextlib.contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise TimeoutError in a `with` block that takes longer."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done in {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def violation(call: Callable[[], object], *, memory: bool = False) -> str | None:
    """What is wrong with how a call ends; None where it returns or raises one line, soon and in little memory.

    Args:
        call: the call.
        memory: whether to measure its memory, which makes it some times slower.
    """
    began_s = time.process_time()
    if memory:
        tracemalloc.start()
    try:
        with time_limit(HANG_S):
            call()
    except RksearchError as error:
        text = str(error)
        if "\n" in text.strip() or not text.strip():
            return f"not one line: {text!r}"
        if len(text) > LONGEST_MESSAGE:
            return f"a line of {len(text)} characters: {text[:200]!r}"
    except BaseException as error:  # noqa: BLE001 - any of them is what is looked for
        return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        peak = tracemalloc.get_traced_memory()[1] if memory else 0
        if memory:
            tracemalloc.stop()
    # Measuring memory makes a call several times slower.
    if (took_s := time.process_time() - began_s) > (5 if memory else 1) * LIMIT_S:
        return f"it took {took_s:.1f} s of a CPU"
    return f"it took {peak / 1e9:.1f} GB" if peak > LIMIT_BYTES else None


@dataclass(frozen=True, kw_only=True)
class Found:
    """An input that something is wrong with.

    Attributes:
        kind: kind of input.
        number: its number; with the seed it makes the input again.
        input: the input, shortened.
        problem: what is wrong.
    """

    kind: str
    number: int
    input: str
    problem: str


@dataclass(kw_only=True)
class Fuzzer:
    """Makes and tries inputs, each a function of seed and number.

    Args:
        directory: an empty directory for files.
        seed: seed of all inputs.
    """

    directory: Path
    seed: int = 0
    _spaces: tuple[bytes, ...] = field(init=False, repr=False)
    _recipes: tuple[bytes, ...] = field(init=False, repr=False)
    _names: tuple[str, ...] = field(init=False, repr=False)
    _records: tuple[dict[str, Any], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        root = Path(__file__).parents[2]
        shipped = [root / "search_spaces" / f"{name}.yaml" for name in ("quickstart", "methods", "cifar10_resnet")]
        self._spaces = (TINY_SPACE.encode(), *(path.read_bytes() for path in shipped))
        self._recipes = tuple(path.read_bytes() for path in sorted((root / "rksearch" / "recipes").glob("*.yaml")))
        self._names = tuple(NAMES)
        self._records = tuple(json.loads(line) for line in ledger_lines(self.directory / "base"))

    def kinds(self) -> dict[str, Callable[[random.Random], tuple[str, Callable[[], object]]]]:
        """For each kind of input a function that makes one: its text, and the call that reads it."""
        return {
            "space": self.space,
            "recipe": self.recipe,
            "name": self.name,
            "ledger": self.ledger,
            "options": self.options,
            "environment": self.environment,
            "export": self.export,
        }

    def run(self, kind: str, count: int, *, first: int = 0) -> list[Found]:
        """Try inputs of a kind.

        Returns:
            Those that something is wrong with.
        """
        make = self.kinds()[kind]
        violation(make(random.Random(f"{kind} {self.seed} warm-up"))[1])  # imports what the kind needs
        found = []
        for number in range(first, first + count):
            text, call = make(random.Random(f"{kind} {self.seed} {number}"))
            # Memory is measured for some alone: measuring takes most of the time.
            if problem := violation(call, memory=number % 20 == 0):
                found.append(Found(kind=kind, number=number, input=text[:2_000], problem=problem))
        return found

    def space(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """A space file."""
        content = mangled(rng.choice(self._spaces), rng)
        path = self.directory / "space.yaml"

        def read() -> None:
            path.write_bytes(content)
            load_space(str(path)).summary()

        return repr(content), read

    def recipe(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """A recipe file."""
        content = mangled(rng.choice(self._recipes), rng)
        path = self.directory / "recipe.yaml"

        def read() -> None:
            path.write_bytes(content)
            recipe(str(path))

        return repr(content), read

    def name(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """A name of an architecture."""
        text = mangled(rng.choice(self._names).encode(), rng).decode(errors="replace")
        return repr(text), lambda: str(parse(text))

    def ledger(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """A ledger, one of whose records is changed, with a right checksum or without."""
        number = rng.randrange(len(self._records))
        lines = [checked_line(record) for record in self._records]
        if rng.random() < 0.7:
            lines[number] = checked_line(with_evil(self._records[number], rng))
        else:
            lines[number] = mangled(lines[number], rng)
        path = self.directory / "run" / FILE_NAME

        def read() -> None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"\n".join(lines) + b"\n")
            history = Ledger(path.parent).read()
            run_status(history)
            derived_files(history)

        return repr(lines[number]), read

    def options(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """A command line that starts no run."""
        words = list(rng.choice(COMMANDS))
        for _ in range(rng.randint(1, 3)):
            value = rng.choice(EVIL)
            text = value if isinstance(value, str) else json.dumps(value)
            option = rng.choice(OPTIONS)
            words += [option] if rng.random() < 0.1 else [option, text.replace("\x00", "")]
        return repr(words), lambda: command_ends(words)

    def environment(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """Values of environment variables."""
        values = [v.replace("\x00", "") for v in EVIL if isinstance(v, str)]
        changes = {name: rng.choice(values) for name in rng.sample(VARIABLES, rng.randint(1, 3))}

        def read() -> None:
            before = dict(os.environ)
            os.environ.update(changes)
            try:
                data_home(None)
                command_ends(["status", "nowhere"])
                command_ends(["space", "show", "quickstart"])
            finally:
                os.environ.clear()
                os.environ.update(before)

        return repr(changes), read

    def export(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        """An exported network, whose spec or weights are changed; loading needs torch."""
        from rksearch.models.export import SPEC, WEIGHTS, load

        base = self._exported()
        files = {name: (base / name).read_bytes() for name in (SPEC, WEIGHTS)}
        if rng.random() < 0.8:
            record = with_evil(json.loads(files[SPEC]), rng)
            if rng.random() < 0.3 and isinstance(record.get("name"), str):
                record["name"] = rng.choice((*NAMES, "RKNet-k1-m10000-1x1", "ResNet-100000", "DenseNet-4000-k4000"))
            files[SPEC] = json.dumps(record).encode()
        else:
            files[WEIGHTS] = mangled(files[WEIGHTS], rng)
            if rng.random() < 0.7:
                record = {**json.loads(files[SPEC]), "weights_sha256": hashlib.sha256(files[WEIGHTS]).hexdigest()}
                files[SPEC] = json.dumps(record).encode()
        directory = self.directory / "export"

        def read() -> None:
            directory.mkdir(exist_ok=True)
            for name, content in files.items():
                (directory / name).write_bytes(content)
            load(directory)

        return repr(files[SPEC]), read

    def _exported(self) -> Path:
        """The smallest of networks, exported once."""
        base = self.directory / "exported"
        if not base.exists():
            from rksearch.data.facts import dataset
            from rksearch.models import build
            from rksearch.models.export import export

            spec = parse("DenseNet-10-k2")
            export(build(spec, dataset("digits")), spec, dataset("digits"), base, origin="made for a test")
        return base


NAMES = (
    "ResNet-8", "ResNet-110", "DenseNet-40-k12", "DenseNet-BC-100-k12", "RKNet-BC-k8-m2_4_6-1x2_1x2_1x1",
    "RKNet-k4-m1_2_2-1x1_1x2s_1x2s", "RKCNN-E-k4-1x1_1x1-drop30",
)  # fmt: skip

COMMANDS = (
    ("run", "--space", "nowhere.yaml"),
    ("run", "--space", "quickstart", "--recipe", "nowhere"),
    ("resume", "nowhere"),
    ("final", "nowhere"),
    ("retrain", "nowhere", "--front"),
    ("status", "nowhere"),
    ("report", "nowhere"),
    ("space", "sample", "quickstart"),
    ("space", "show", "nowhere"),
    ("describe", "ResNet-"),
    ("describe", "ResNet-8"),
    ("train", "ResNet-"),
    ("export", "nowhere:x"),
)
"""Commands that end before they would train, whatever is added."""

OPTIONS = (
    "--out",
    "--trials",
    "--epochs",
    "--seeds",
    "--replicates",
    "--sampler-seed",
    "--cpus-per-trial",
    "--gpus-per-trial",
    "--seeds-together",
    "--cpu-hours",
    "--gpu-hours",
    "--trial-hours",
    "--max-concurrent",
    "--until",
    "--data-dir",
    "--device",
    "--precision",
    "--seed",
    "-n",
    "--threads",
    "--to",
    "--arch",
    "--fresh",
    "--start",
    "--import",
    "--dataset",
    "--objective",
    "--sampler",
)
"""Options of some command or other."""

VARIABLES = [VARIABLE, "HOME", "TMPDIR", "XDG_CACHE_HOME", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "LANG", "TZ"]


def command_ends(words: Sequence[str]) -> None:
    """Run a command in this process.

    Raises:
        AssertionError: it ended in another way than by an exit code and at most one line of errors.
    """
    from rksearch.cli import main

    argv, errors = sys.argv, io.StringIO()
    code: object = None
    lines: list[str] = []
    sys.argv = ["rksearch", *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as ended:
        lines = errors.getvalue().strip().splitlines()
        code = ended.code
    finally:
        sys.argv = argv
    fine = code in (0, None) or (code in (1, 2) and len(lines) == 1 and len(lines[0]) < 6_000)
    if not fine or "this is a fault of rksearch" in errors.getvalue():
        raise AssertionError(f"exit {code} with {len(lines)} lines: {errors.getvalue()[:500]}")


def ledger_lines(directory: Path) -> list[bytes]:
    """Lines of a ledger with an event of most kinds."""
    ledger = Ledger(directory)
    ledger.write_run(name="tiny", space=space_record(), plan=plan_record())
    ledger.write_session(environment=Environment(), options={"cpus_per_trial": 1.0})
    for arch in ("ResNet-8", "RKNet-BC-k8-m2_4_6-1x2_1x2_1x1"):
        ledger.write_start(trial(arch).id)
        ledger.write_trial(trial(arch), complete(20.0), wall_time_s=1.0, cpus=1.0)
    ledger.write_retry("ResNet-8@1", "out of memory")
    ledger.write_end("interrupted", "by a person")
    return ledger.path.read_bytes().splitlines()
