"""Check the shape of the tree: module sizes and who may import whom.

The core never imports a concrete back end: ``pipeline`` and ``prompts`` reach ``models`` only through
``models.base`` and ``models.registry``. Imports inside functions count too.
"""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "prompts", "models", "evaluation")
HARD_CAP, MEDIAN_CAP, P90_CAP = 500, 130, 350

# (importer, imported, the exceptions among the imported): first package names, longest prefix wins.
FORBIDDEN = [
    ("pipeline", "models", ("models.base", "models.registry")),
    ("prompts", "models", ()),
    ("prompts", "evaluation", ()),
    ("models", "evaluation", ()),
    ("models", "pipeline.store", ()),
    ("models", "pipeline.queue", ()),
    ("models", "pipeline.desk", ()),
    ("pipeline.types", "pipeline", ()),
    ("pipeline.errors", "pipeline", ()),
    ("pipeline.settings", "pipeline", ("pipeline.errors",)),
    ("pipeline.ingest", "pipeline.store", ()),
    ("pipeline.detect", "pipeline.store", ()),
    ("pipeline.detect", "pipeline.queue", ()),
    ("pipeline.decide", "pipeline.reason", ()),
    ("pipeline.reason", "pipeline.queue", ()),
    ("pipeline.store", "pipeline.queue", ()),
    ("pipeline.queue", "pipeline.desk", ()),
]
# Front ends and benchmarks may name a back end: nothing imports them.
FRONT = ("pipeline.cli", "pipeline.bench", "models.train")


def modules() -> dict[str, Path]:
    """Dotted name to file of every module."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Every dotted name a module imports, also lazily, but not for type checking."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def inside(name: str, package: str) -> bool:
    """Whether a dotted name lies in a package."""
    return name == package or name.startswith(package + ".")


def layer_faults(found: dict[str, Path]) -> list[str]:
    """Imports that go against the layers."""
    faults = []
    for module, path in found.items():
        if any(inside(module, front) for front in FRONT):
            continue
        for importer, imported, allowed in FORBIDDEN:
            if not inside(module, importer):
                continue
            for name in imports(path):
                own = inside(name, importer) or any(inside(name, good) for good in allowed)
                if inside(name, imported) and name != imported and not own:
                    faults.append(f"{path.relative_to(ROOT)}: imports {name}, which {importer} must not")
    return sorted(set(faults))


def cycles(found: dict[str, Path]) -> list[str]:
    """Import circles between modules, counting imports at module level only."""
    graph: dict[str, set[str]] = {}
    for module, path in found.items():
        top = ast.parse(path.read_text())
        names: set[str] = set()
        for node in top.body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # A submodule may be taken from its package while the package itself is being loaded.
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= parts if parts <= found.keys() else parts | {node.module}
        graph[module] = {name for name in names if name in found and name != module}
    faults: list[str] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            faults.append("import circle: " + " -> ".join([*path[path.index(module) :], module]))
            return
        if module in done:
            return
        for other in sorted(graph[module]):
            visit(other, [*path, module])
        done.add(module)

    for module in graph:
        visit(module, [])
    return faults


def size_faults(found: dict[str, Path]) -> list[str]:
    """Modules over the cap, and a tree whose modules have grown too large."""
    sizes = {path: len(path.read_text().splitlines()) for path in found.values()}
    faults = [
        f"{path.relative_to(ROOT)}: {size} lines, at most {HARD_CAP}"
        for path, size in sizes.items()
        if size > HARD_CAP
    ]
    real = sorted(size for path, size in sizes.items() if path.name != "__init__.py")
    median, p90 = statistics.median(real), real[int(len(real) * 0.9)]
    print(f"{len(real)} modules, median {median:.0f} lines, 90th percentile {p90}, largest {real[-1]}")
    if median > MEDIAN_CAP:
        faults.append(f"median module has {median:.0f} lines, at most {MEDIAN_CAP}")
    if p90 > P90_CAP:
        faults.append(f"90th percentile module has {p90} lines, at most {P90_CAP}")
    return faults


def main() -> None:
    """Print every fault; exit 1 when there is one."""
    found = modules()
    faults = size_faults(found) + layer_faults(found) + cycles(found)
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
