"""Imports point one way: app → studio → annotations → the model's torch-free values."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH_FREE = (
    "trajectory",
    "events",
    "examples",
    "templates",
    "sequences",
    "reflection_text",
    "images",
    "atomic_files",
    "prepare.released_labels",
    "world.language",
)
REFEREE = {"model.world.verifier", "model.world.reasons", "model.world.defects"}
MAY_IMPORT = {
    "model": {"model"},
    "annotations": {"annotations", *(f"model.{name}" for name in TORCH_FREE)},
    "studio": {"studio", "annotations", "model"},
}


def modules() -> list[Path]:
    return [p for folder in MAY_IMPORT for p in sorted((ROOT / folder).rglob("*.py")) if p.name != "__init__.py"]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Our own modules that a file imports."""
    return _imported(ast.walk(parsed(path)))


def imported_when_run(path: Path) -> frozenset[str]:
    """Those that it imports not for type checkers alone."""
    skipped = {
        inner
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return _imported(node for node in ast.walk(parsed(path)) if node not in skipped)


def _imported(nodes: Iterable[ast.AST]) -> frozenset[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names.update((node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] in (*MAY_IMPORT, "app"))


def test_a_module_imports_only_what_lies_below_it():
    for path in modules():
        allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
        for name in imported(path):
            below = any(name == each or name.startswith(f"{each}.") for each in allowed)
            assert below, f"{path.relative_to(ROOT)} imports {name}"


def test_nothing_is_imported_inside_a_function():
    for path in modules():
        for function in ast.walk(parsed(path)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                late = [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
                assert not late, f"{path.relative_to(ROOT)}: {function.name} imports inside"


def check_acyclic(graph: dict[str, set[str]], inside: str) -> None:
    """Raises AssertionError with the first cycle of a graph (name → names that it imports)."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"cycle in {inside}: {' → '.join((*trail[trail.index(name) :], name))}"
        if name not in done:
            for below in sorted(graph.get(name, ())):
                visit(below, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def import_graph(of: Callable[[Path], frozenset[str]] = imported) -> dict[str, set[str]]:
    """Module → our modules that it imports."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in modules()}
    return {name: of(path) & set(names) for name, path in names.items()}


def test_imports_form_no_cycle():
    check_acyclic(import_graph(), "modules")


def test_folders_import_one_way():
    """In every folder, what lies in it (modules, and folders with all below them) can be ordered by imports."""
    graphs: dict[str, dict[str, set[str]]] = {}
    for name, below in import_graph().items():
        for other in below:
            a, b = name.split("."), other.split(".")
            depth = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
            graphs.setdefault(".".join(a[:depth]), {}).setdefault(a[depth], set()).add(b[depth])
    for folder, graph in graphs.items():
        check_acyclic(graph, folder or "the repository")


def test_values_and_store_load_without_torch():
    loaded = "model.events, model.examples, model.sequences, annotations.store.store"
    code = f"import sys; import {loaded}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_world_is_never_asked_while_drawing_judging_or_showing():
    for path in modules():
        inside = path.relative_to(ROOT).parts
        if inside[:2] == ("model", "decoding") or inside[0] == "studio" or path.name in ("generate.py", "janus.py"):
            assert not imported(path) & REFEREE, f"{path.name} asks the referee"


def test_neither_the_studio_nor_what_it_imports_knows_the_referee():
    graph, known, new = import_graph(imported_when_run), set[str](), {"studio.main"}
    while new:
        known |= new
        new = set().union(*(graph[name] for name in new)) - known
    assert len(known) > 300 and not known & REFEREE


def test_no_training_method_knows_the_world():
    """It is a data source, a reward by its name, and what throughput is measured on."""
    training = ROOT / "model" / "training"
    knows = {training / "sources.py", training / "rewards" / "verifier.py"}
    knows |= {p for name in ("embedded", "world_data", "benchmark") for p in (training / name).glob("*.py")}
    for path in set(training.rglob("*.py")) - knows:
        world = [
            name
            for name in imported(path)
            if name.startswith(("model.world", "model.training.embedded", "model.training.world_data"))
        ]
        assert not world, f"{path.relative_to(ROOT)} imports {world}"
