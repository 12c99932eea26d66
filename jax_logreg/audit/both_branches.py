"""Code in which an ``if`` that depends on θ runs both of its branches, and selects.

A trace takes the branches of one point. Where other points take others, as in a loop over
rows that adds ``margin`` if it is positive, the code is rewritten from its source: an ``if``
that only assigns names, or only returns, becomes a selection between the two outcomes.
"""

import ast
import copy
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_logreg.audit.paired_array import PairedArray, is_traced, lifted, pair, plain

_MISSING = object()


def with_both_branches(function: types.FunctionType) -> types.CodeType:
    """The code of a function, rewritten where that can be done; else as it is."""
    code = function.__code__
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):  # no source; a lambda amid an expression
        return code
    (found, *_) = [*_named(tree, code.co_name), None]
    if found is None or any(isinstance(x, ast.Global | ast.Nonlocal) for x in ast.walk(found)):
        return code
    found.decorator_list, found.returns = [], None
    _Rewriter().visit(found)
    # Free variables stay free inside a function that has them as arguments.
    outer = ast.parse(f"def _({', '.join(code.co_freevars)}): pass").body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body = [found]
    module = ast.fix_missing_locations(ast.Module([outer], []))
    whole = compile(module, code.co_filename, "exec")
    return _inner(_inner(whole, "_"), code.co_name)


def _named(tree: ast.AST, name: str) -> Iterator[ast.FunctionDef]:
    return (x for x in ast.walk(tree) if isinstance(x, ast.FunctionDef) and x.name == name)


def _inner(code: types.CodeType, name: str) -> types.CodeType:
    codes = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return next(c for c in codes if c.co_name == name)


class _Rewriter(ast.NodeTransformer):
    """Replaces conditions by calls of the functions in ``BRANCHING``."""

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """A if c else b."""
        self.generic_visit(node)
        return _call("_select_", node.test, _lambda(node.body), _lambda(node.orelse))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        """A and b, a or b."""
        self.generic_visit(node)
        name = "_and_" if isinstance(node.op, ast.And) else "_or_"
        return _call(name, *map(_lambda, node.values))

    def visit_Compare(self, node: ast.Compare) -> Any:
        """Both halves of a < b < c."""
        self.generic_visit(node)
        if len(node.ops) == 1:
            return node
        left = [node.left, *node.comparators]
        pairs = zip(left, node.ops, node.comparators, strict=False)
        return _call("_and_", *(_lambda(ast.Compare(a, [op], [b])) for a, op, b in pairs))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """An ``if`` that returns, followed by a return, is one with an ``else``."""
        *_, before, last = [None, *node.body]
        if isinstance(last, ast.Return) and isinstance(before, ast.If) and not before.orelse:
            before.orelse = [last]
            node.body.pop()
        self.generic_visit(node)
        return node

    def visit_If(self, node: ast.If) -> Any:
        """Branches that assign become functions of what they assign."""
        self.generic_visit(node)
        match node.body, node.orelse:
            case [ast.Return(a)], [ast.Return(b)] if a is not None and b is not None:
                return ast.Return(_call("_select_", node.test, _lambda(a), _lambda(b)))
        names = [_assigned(statement) for statement in node.body + node.orelse]
        if any(name is None for name in names):
            return node
        assigned = sorted({name for found in names for name in found or ()})
        if not assigned:
            return node
        listed = ", ".join(assigned)
        now = ", ".join(f"_value_(lambda: {name})" for name in assigned)
        text = f"def _then_({listed}): return {listed},\ndef _else_({listed}): return {listed},\n"
        new: Any = ast.parse(f"{text}{listed}, = _branch_(0, _then_, _else_, ({now},))").body
        new[0].body[:0], new[1].body[:0] = node.body, node.orelse
        new[2].value.args[0] = node.test
        return new


def _assigned(statement: ast.stmt) -> set[str] | None:
    """The names that a statement assigns, if it does nothing else."""
    if isinstance(statement, ast.Pass | ast.FunctionDef):
        return set()
    if isinstance(statement, ast.Assign):
        targets = list(statement.targets)
    elif isinstance(statement, ast.AugAssign):
        targets = [statement.target]
    else:
        return None
    found: set[str] = set()
    for target in targets:
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        for part in parts:
            while isinstance(part, ast.Subscript):
                part = part.value
            if not isinstance(part, ast.Name):
                return None
            found.add(part.id)
    return found


def _call(name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(args), [])


def _lambda(body: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), body)


def _select(test: Any, then: Callable[[], Any], orelse: Callable[[], Any]) -> Any:
    if not is_traced(test):
        return then() if test else orelse()
    return _merge(test, then, orelse)


def _branch(test: Any, then: Any, orelse: Any, values: tuple[Any, ...]) -> Any:
    if not is_traced(test):
        return (then if test else orelse)(*values)
    kept = [[copy.copy(x) if isinstance(x, PairedArray) else x for x in values] for _ in "ab"]
    return _merge(test, lambda: then(*kept[0]), lambda: orelse(*kept[1]))


def _merge(test: Any, then: Callable[[], Any], orelse: Callable[[], Any]) -> Any:
    taken = then() if test else orelse()
    try:
        other = orelse() if test else then()
    except Exception:  # not defined where it is not taken
        return taken
    return _where(test if test else _not(test), taken, other)


def _where(test: Any, taken: Any, other: Any) -> Any:
    if taken is other:
        return taken
    if isinstance(taken, list | tuple) and type(taken) is type(other):
        return type(taken)(_where(test, a, b) for a, b in zip(taken, other, strict=True))
    numbers = (PairedArray, int, float, np.number, np.bool_)
    if not (isinstance(taken, numbers) and isinstance(other, numbers)):
        return taken
    concrete = np.asarray(plain(taken), np.result_type(plain(taken), plain(other)))[()]
    return pair(concrete, jnp.where(test.traced, lifted(taken), lifted(other)))


def _not(x: Any) -> Any:
    return x == False if is_traced(x) else not x  # noqa: E712


def _and(*parts: Callable[[], Any]) -> Any:
    found = parts[0]()
    for part in parts[1:]:
        found = _select(found, part, _always(found))
    return found


def _or(*parts: Callable[[], Any]) -> Any:
    found = parts[0]()
    for part in parts[1:]:
        found = _select(found, _always(found), part)
    return found


def _always(x: Any) -> Callable[[], Any]:
    return lambda: x


def _value(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except NameError:  # the branch gives it its first value
        return _MISSING


BRANCHING: dict[str, Callable[..., Any]] = {
    "_select_": _select,
    "_branch_": _branch,
    "_and_": _and,
    "_or_": _or,
    "_value_": _value,
}
