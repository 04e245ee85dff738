"""Measure the shape of the code, each measure beside its bar: `python -m benchmarks.shape`. Exits with 1 if a bar is missed.

Imports are those that import-linter sees (grimp); a cycle counts between modules and between packages, at every depth.
"""

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import grimp
from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "raypol"
PRESENTATION: Final = ("cli", "figures", "report", "explorer")
SHARED_NAMES: Final = frozenset(
    {
        "CALIBRATIONS",
        "CHECKS",
        "GATHER",
        "METHOD",
        "NEED_ACCURACY",
        "NEED_EXACT",
        "PRESETS",
        "craft",
        "declare",
        "load",
        "main",
        "path",
        "work",
    }
)
"""Public names that several modules may define: what every attack, every dataset and every program is asked for."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure and its bar."""

    name: str
    value: int
    bar: int
    where: str = ""

    @property
    def is_met(self) -> bool:
        """True if the bar holds."""
        return self.value <= self.bar


def measures() -> list[Measure]:
    """Return all measures of this checkout."""
    lines = {path: len(path.read_text().splitlines()) for path in modules()}
    files: dict[Path, int] = defaultdict(int)
    for path in lines:
        files[path.parent] += 1
    folder, module = max(files, key=lambda path: files[path]), max(lines, key=lambda path: lines[path])
    shown = sum(count for path, count in lines.items() if path.relative_to(PACKAGE).parts[0] in PRESENTATION)
    shown += sum(len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.j2"))
    imports = imported_modules()
    cycles, up = import_cycles(imports), arrows_up(imports)
    repeated = repeated_names()
    return [
        Measure("files in the largest folder", files[folder], 16, _place(folder)),
        Measure("lines of the largest module", lines[module], 400, _place(module)),
        Measure("lines of raypol/", sum(lines.values()), 25_500),
        Measure("lines of presentation", shown, 8_200, ", ".join(PRESENTATION)),
        Measure("import cycles", len(cycles), 0, "; ".join(" -> ".join(cycle) for cycle in cycles)),
        Measure("imports that point up", len(up), 0, "; ".join(up)),
        Measure("public names defined twice", len(repeated), 0, ", ".join(repeated)),
        Measure("lines of README.md", len((ROOT / "README.md").read_text().splitlines()), 180),
    ]


def modules() -> list[Path]:
    """Return the files of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imported_modules() -> dict[str, frozenset[str]]:
    """Map each module of the package to the modules of the package that it imports."""
    graph = grimp.build_graph("raypol", cache_dir=None)
    return {name: frozenset(graph.find_modules_directly_imported_by(name)) for name in graph.modules}


def import_cycles(imports: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Find a cycle among the children of each package, a package standing for all that it holds."""
    siblings: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for importer, imported in ((a, b) for a, found in imports.items() for b in found):
        one, other = importer.split("."), imported.split(".")
        depth = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), None)
        if depth is not None:  # else one holds the other: a package's face
            siblings[".".join(one[:depth])][one[depth]].add(other[depth])
    found = []
    for package, edges in siblings.items():
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as err:
            found.append([f"{package}.{name}" for name in err.args[1]])
    return found


def layers() -> list[list[str]]:
    """Read the rooms of each layer from import-linter's contract, from the top down."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (declared,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [[room.strip().removeprefix("raypol.") for room in layer.split("|")] for layer in declared]


def arrows_up(imports: Mapping[str, frozenset[str]]) -> list[str]:
    """Find imports from a room into one above it, or into its neighbour."""
    level = {room: number for number, rooms in enumerate(layers()) for room in rooms}
    found = []
    for importer, imported in ((a, b) for a, some in imports.items() for b in sorted(some)):
        one, other = (name.split(".")[1] if "." in name else "" for name in (importer, imported))
        if one in level and other in level and one != other and level[other] <= level[one]:
            found.append(f"{importer} -> {imported}")
    return found


def repeated_names() -> dict[str, list[str]]:
    """Map each public name that two modules define at their top level to those modules."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for name in _public_names(ast.parse(path.read_text())):
            homes[name].append(_place(path))
    return {name: some for name, some in sorted(homes.items()) if len(some) > 1 and name not in SHARED_NAMES}


def _public_names(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def main() -> None:
    """Print the measures."""
    found = measures()
    table = Table(box=None, pad_edge=False)
    for column in ("measure", "value", "bar", "", "where"):
        table.add_column(column, justify="right" if column in ("value", "bar") else "left", overflow="fold")
    for one in found:
        table.add_row(one.name, f"{one.value:,}", f"<= {one.bar:,}", "holds" if one.is_met else "MISSED", one.where)
    Console(highlight=False, markup=False).print(table)
    sys.exit(not all(one.is_met for one in found))


if __name__ == "__main__":
    main()
