"""Mutants of a Python module: its source with one small fault each.

Left out: docstrings, annotations, assertions, texts, messages of errors, decorators but ``no_grad``, and what changes only
speed or memory (keywords in :data:`SPEED_ONLY`, methods in :data:`SAME_VALUES`).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SPEED_ONLY = {"inplace", "fused", "strict", "gradient_as_bucket_view", "maxsize"}
"""Keywords that no result depends on (``strict`` of zip: an error of lengths that are equal)."""
SAME_VALUES = {"to", "contiguous", "clone", "cpu", "items", "keys", "values"}
"""Methods that move or copy values; without ``items`` nothing runs at all."""
NO_VALUES = {"self", "cls", "torch", "nn", "F", "dist", "np", "math", "json", "os", "time", "random"}
"""Names whose attributes are functions, not methods of a value."""
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        line: of the original.
        kind: of the fault, in a few words.
        node, change: where it is: the index of the changed node, and of the change among those that this node can have.
        function: qualified name of the innermost function that it is in; empty in what an import runs.
    """

    line: int
    kind: str
    node: int
    change: int
    function: str


Change = tuple[str, Callable[[ast.AST], ast.AST]]


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    bodies = list(_functions(tree, ""))
    found = []
    for index, node in enumerate(_mutable(tree)):
        line = node.iter.lineno if isinstance(node, ast.comprehension) else getattr(node, "lineno", 0)
        inner = [name for name, first, last in bodies if first <= line <= last]
        for number, (kind, _) in enumerate(_changes(node)):
            found.append(Mutant(line, kind, index, number, inner[-1] if inner else ""))
    return sorted(found, key=lambda mutant: mutant.line)


def mutated(source: str, mutant: Mutant) -> str:
    """A module's source with one fault."""
    tree = ast.parse(source)
    target = next(node for i, node in enumerate(_mutable(tree)) if i == mutant.node)
    by = _changes(target)[mutant.change][1](target)
    return ast.unparse(ast.fix_missing_locations(_replaced(tree, target, by)))


def identity(source: str, mutant: Mutant) -> str:
    """A digest of the mutated module that new comments and docstrings leave as it is."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant("")
    return hashlib.sha256(mutated(ast.unparse(tree), mutant).encode()).hexdigest()


def _functions(tree: ast.AST, outer: str) -> Iterator[tuple[str, int, int]]:
    """Qualified name, first and last line of each function's body, outer ones first."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            name = f"{outer}{node.name}"
            yield name, node.body[0].lineno, node.end_lineno or node.lineno
            yield from _functions(node, f"{name}.<locals>.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{outer}{node.name}.")
        else:
            yield from _functions(node, outer)


def _mutable(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a tree that may be changed, parents first."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params") or isinstance(node, ast.Assert | ast.JoinedStr):
            continue
        if name == "decorator_list" or isinstance(node, ast.Raise):
            continue  # a decorator and an error are kept or dropped as a whole
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_out(child):
                yield from _mutable(child)


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg in SPEED_ONLY
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        called = node.value.value if isinstance(node.value, ast.Subscript) else node.value  # Literal[...], TypeVar(...)
        called = called.func if isinstance(called, ast.Call) else called
        return isinstance(called, ast.Name) and called.id in ("Literal", "TypeVar", "Callable")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST) -> list[Change]:
    """What may be done to one node."""
    changes: list[Change] = []
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        changes.append(("comparison", _comparison))
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
        changes.append(("arithmetic", _arithmetic))
    elif isinstance(node, ast.AugAssign):
        changes.append(("assigned, not added", lambda n: ast.Assign([n.target], n.value)))  # type: ignore[attr-defined]
    elif isinstance(node, ast.BoolOp):
        changes.append(("and/or", _other_junction))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        changes.append(("sign dropped", lambda n: n.operand))  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant):
        changes += _constant(node)
    elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare):
        changes.append(("condition negated", _negated))
    elif isinstance(node, ast.Expr | ast.Raise | ast.Delete):
        changes.append(("statement dropped", lambda n: ast.Pass()))
    elif isinstance(node, ast.With) and not any(item.optional_vars for item in node.items):
        changes.append(("context dropped", lambda n: ast.If(ast.Constant(True), n.body, [])))  # type: ignore[attr-defined]
    elif isinstance(node, ast.Call) and _is_method(node):
        changes.append(("method dropped", lambda n: n.func.value))  # type: ignore[attr-defined]
    elif isinstance(node, ast.FunctionDef) and any("no_grad" in ast.unparse(d) for d in node.decorator_list):
        changes.append(("no_grad dropped", _undecorated))
    elif isinstance(node, ast.comprehension) and node.ifs:
        changes.append(("filter dropped", _unfiltered))
    return changes


def _constant(node: ast.Constant) -> list[Change]:
    if isinstance(node.value, bool):
        return [("constant negated", lambda n: ast.Constant(not n.value))]  # type: ignore[attr-defined]
    if isinstance(node.value, int | float):
        return [("constant + 1", lambda n: ast.Constant(n.value + 1))]  # type: ignore[attr-defined]
    return []


def _is_method(node: ast.Call) -> bool:
    """Whether a call is one of a value's methods: not a function of a module, nor of ``self``."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr in SAME_VALUES or node.func.attr.startswith("_"):
        return False
    value = node.func.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return not (isinstance(value, ast.Name) and value.id in NO_VALUES)


def _comparison(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Compare)
    return ast.Compare(node.left, [COMPARED[type(node.ops[0])](), *node.ops[1:]], node.comparators)


def _arithmetic(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BinOp)
    return ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)


def _other_junction(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BoolOp)
    return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _negated(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.If | ast.While | ast.IfExp)
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def _undecorated(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.FunctionDef)
    node.decorator_list = [d for d in node.decorator_list if "no_grad" not in ast.unparse(d)]
    return node


def _unfiltered(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.comprehension)
    node.ifs = []
    return node


def _replaced(tree: ast.AST, target: ast.AST, by: ast.AST) -> ast.AST:
    """``tree`` with one of its nodes replaced."""

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return by if node is target else self.generic_visit(node)

    changed: ast.AST = Replace().visit(tree)
    return changed
