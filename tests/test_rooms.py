"""The map of the package: which room may import which, and what no room may import."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers.command_line import environment

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rksearch"

FACTS = "data.facts"
"""The one module of `data` that needs no torch."""

SAMPLERS = "search.samplers.registry"
"""Names and titles of the samplers, which reports show; it imports nothing heavy."""

COMMON = {"errors", "limits", "ordinary", "plain"}
"""Modules outside of every room that everything may import: errors, limits of memory and CPU time, files read with care
and replaced whole, values of Python's own types."""

NEIGHBOURS: dict[str, set[str]] = {
    "arch": set(),
    "recipes": set(),
    "data": {"arch"},
    "models": {"arch", FACTS},
    "space": {"arch", "recipes", FACTS},
    "results": {"arch", "recipes", FACTS, "space.summary", "space.plan"},
    "training": {"arch", "recipes", "data", "models", "results"},
    "search": {"arch", "recipes", "data", "space", "results", "training"},
    "report": {"arch", "recipes", FACTS, "space", "results", SAMPLERS},
    "bench": {"arch", "recipes", "data", "models", "space", "training", "results", "search", "report"},
    "api": {"arch", "recipes", "data", "models", "space", "training", "results", "search", "report", "bench"},
    "cli": {"arch", "recipes", "data", "models", "space", "training", "results", "search", "report", "bench", "api"},
    "integrations": {"arch", FACTS, "models", "api"},
}
"""Rooms that each room may import besides itself. A dotted name stands for one module of a room."""

INNER: dict[str, set[str]] = {
    "arch.families": {"arch"},
    "space.format": {"space", "space.counting"},
    "space.counting": {"space", "space.format"},
    "training.engine": set(),
    "training.memory": {"training.engine"},
    "search.samplers": {"search"},
    "search.ray": {"search"},
    "bench.replay": {"bench"},
}
"""Rooms within rooms, and which parts of their own house they may import; the neighbours outside are the house's."""

OUTSIDE = {
    "ray": {"search.ray", "bench.replay.stock_ray"},
    "optuna": {"search.samplers", "bench.replay.stock_ray"},
    "botorch": {"bench.replay.qlognehvi"},
    "gpytorch": {"bench.replay.qlognehvi"},
    "syne_tune": {"bench.replay.moasha"},
    "timm": {"integrations.timm"},
    "huggingface_hub": {"integrations.hugging_face"},
}
"""The only places that import Ray and Optuna, and rivals: `stock_ray` replays Ray's own search over Optuna."""

LIGHT = ("arch", "recipes", "space", "results", "report", "cli")
"""Rooms whose modules import neither torch nor Ray nor Optuna when they are imported."""

Edge = tuple[str, str]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below `rksearch`; the package itself is the empty name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def targets(node: ast.AST) -> Iterator[str]:
    """Dotted names that an import statement imports, of modules and of names within them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(name: str) -> list[str]:
    """Dotted names that a module imports, anywhere in it."""
    tree = ast.parse(MODULES[name].read_text())
    return [target for node in ast.walk(tree) for target in targets(node)]


def own_edges() -> set[Edge]:
    """Pairs of a module and a module of the package that it imports.

    The version number is read from the package itself, which is there before any of its modules.
    """
    edges = set()
    for name in MODULES:
        for target in imports(name):
            package, _, inner = target.partition(".")
            if package != "rksearch" or inner in ("", "__version__"):
                continue
            edges.add((name, inner if inner in MODULES else inner.rpartition(".")[0]))
    return edges


EDGES = own_edges()


def house(name: str) -> str:
    return name.partition(".")[0]


def room(name: str) -> str:
    """The innermost room of a module."""
    return max((r for r in (*NEIGHBOURS, *INNER) if within(name, r)), key=len, default=house(name))


def within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def test_one_module_knows_how_our_own_python_is_started() -> None:
    """`python -m` and `python -c` look for modules in the working directory first."""
    assert [name for name, path in MODULES.items() if "sys.executable" in path.read_text()] == ["results.processes"]


def may_import(importer: str, imported: str) -> bool:
    if importer in ("", "__main__") or imported in COMMON:
        return True
    if house(importer) != house(imported):
        return any(within(imported, place) for place in NEIGHBOURS.get(house(importer), ()))
    mine, other = room(importer), room(imported)
    # A house uses its inner rooms; an inner room uses what the table says.
    return mine in (other, house(importer)) or other in INNER[mine]


def circles(edges: set[Edge]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan), each sorted."""
    graph: dict[str, set[str]] = {}
    for a, b in edges:
        if a != b:
            graph.setdefault(a, set()).add(b)
            graph.setdefault(b, set())
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(found)


def test_each_import_names_a_module_that_exists() -> None:
    assert [(name, imported) for name, imported in sorted(EDGES) if imported not in MODULES] == []


def test_each_room_imports_its_neighbours_alone() -> None:
    wrong = {edge for edge in EDGES if not may_import(*edge)}
    assert sorted(wrong) == []


def test_other_rooms_use_the_interface_of_counting_alone() -> None:
    inner = "space.counting."
    assert [(a, b) for a, b in sorted(EDGES) if b.startswith(inner) and not within(a, "space.counting")] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(EDGES) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert circles({(house(a), house(b)) for a, b in EDGES}) == []


def test_the_test_for_circles_finds_one() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == [["a", "b", "c"]]


def test_the_package_holds_rooms_and_nothing_else() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert there == {"__init__.py", "__main__.py", "py.typed", *(f"{name}.py" for name in COMMON), *NEIGHBOURS}
    for name in INNER:
        assert (PACKAGE / name.replace(".", "/")).is_dir()


def test_the_tests_mirror_the_rooms() -> None:
    there = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there - {"helpers", "data_files"} <= set(NEIGHBOURS)


def test_the_package_loads_its_public_names_when_they_are_used() -> None:
    code = """
import sys, rksearch
print([name for name in sys.modules if name.startswith("rksearch.")])
assert all(getattr(rksearch, name) is not None and name in dir(rksearch) for name in rksearch.__all__)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def kinds(tree: ast.Module) -> Iterator[str]:
    """Classes and type aliases of a module, those under `if TYPE_CHECKING` included; type variables have one letter."""
    for node in (inner for own in tree.body for inner in (own.body if isinstance(own, ast.If) else [own])):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            named = [target.id for target in node.targets if isinstance(target, ast.Name)]
            yield from (name for name in named if re.fullmatch(r"_?[A-Z]+[a-z]\w*", name))


def test_a_class_or_type_is_defined_in_one_module() -> None:
    """One word, one thing: share the type, in the lowest room that needs it, or find the other thing's own name."""
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for name in kinds(ast.parse(path.read_text())):
            homes.setdefault(name, []).append(module)
    assert {"ArchSpec", "Floats", "Space"} <= homes.keys()
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


@pytest.mark.parametrize("library", OUTSIDE)
def test_only_their_own_rooms_import_ray_and_optuna(library: str) -> None:
    importers = {name for name in MODULES if any(within(target, library) for target in imports(name))}
    assert importers
    assert [name for name in importers if not any(within(name, place) for place in OUTSIDE[library])] == []


def test_no_room_imports_an_integration() -> None:
    assert [(a, b) for a, b in sorted(EDGES) if house(b) == "integrations" != house(a)] == []


def test_light_rooms_import_no_heavy_package() -> None:
    """Each module on its own would take a process each; all at once, the first heavy import names its importer."""
    light = [f"rksearch.{name}" for name in MODULES if name and house(name) in LIGHT]
    code = f"""
import importlib, sys
for name in {light}:
    importlib.import_module(name)
    heavy = {{"torch", "ray", "optuna"}} & set(sys.modules)
    assert not heavy, f"{{name}} imports {{heavy}}"
"""
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, timeout=120)


def test_the_map_in_contributing_is_the_table_here() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_/]+)/` \|[^|]*\|([^|]*)\|$", text, flags=re.MULTILINE))
    assert {name.replace("/", ".") for name in rows} == {*NEIGHBOURS, *INNER}
    for name, cell in rows.items():
        named = set(re.findall(r"`([a-z_./]+)`", cell))
        assert named == shown(name.replace("/", ".")), f"neighbours of {name}"


def shown(name: str) -> set[str]:
    table: Mapping[str, set[str]] = NEIGHBOURS if name in NEIGHBOURS else INNER
    return {place.replace(".", "/") for place in table[name]}
