"""The graph of all imports in the tree, and its circles."""

from collections.abc import Iterable, Mapping
from functools import cache

import grimp

PACKAGES = ("unbraid", "tests", "benchmarks")
Graph = Mapping[str, Mapping[str, list[int]]]
"""Of each module the modules that it imports, with the lines where it does."""


@cache
def imports_of(*packages: str) -> Graph:
    """Read the imports between the modules of some packages: at the top, inside functions, and under ``TYPE_CHECKING``.

    ``from package import name`` is an import of the module ``package.name`` where there is one, else of ``package``.
    """
    graph = grimp.build_graph(*packages, include_external_packages=False, cache_dir=None)
    return {
        importer: {
            imported: [detail["line_number"] for detail in graph.get_import_details(importer=importer, imported=imported)]
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
        }
        for importer in sorted(graph.modules)
    }


def rooms(graph: Graph, folder: str) -> Graph:
    """Join the modules of each room of a folder, one level down: ``unbraid.trainers.runs.lease`` becomes ``….runs``."""
    joined: dict[str, dict[str, list[int]]] = {}
    for importer, imported in graph.items():
        for module in imported:
            a, b = _room(importer, folder), _room(module, folder)
            if a and b and a != b:
                joined.setdefault(a, {}).setdefault(b, [])
                joined.setdefault(b, {})
    return joined


def _room(module: str, folder: str) -> str | None:
    rest = module.removeprefix(f"{folder}.")
    return None if rest == module else f"{folder}.{rest.split('.')[0]}"


def circles(graph: Graph) -> list[list[str]]:
    """Find the groups of modules that all import each other, directly or not (Tarjan, 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for imported in graph.get(module, {}):
            if imported not in order:
                visit(imported)
            if imported in path:
                lowest[module] = min(lowest[module], lowest[imported])
        if lowest[module] == order[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def described(groups: Iterable[list[str]], graph: Graph) -> str:
    """Describe circles: each import that ties one, with its lines."""
    texts = []
    for group in groups:
        ties = [
            f"  {importer} → {imported} {', '.join(f'line {line}' for line in graph[importer][imported])}".rstrip()
            for importer in group
            for imported in graph[importer]
            if imported in group
        ]
        texts.append("\n".join([f"{len(group)} modules import each other:", *ties]))
    return "\n".join(texts)
