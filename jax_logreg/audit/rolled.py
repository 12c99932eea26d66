"""Loops that are written out: what is done to every row by itself is done to all rows at once.

The trace of a Python loop has every step as often as the loop has rounds. Steps of one expression
that do the same to other numbers, none of which waits for another, become one step over a stack
of these numbers, and running totals become sums. So a loss written as a loop costs as little as
one written with arrays, its rows become data again, and its repetitions are one link.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jax_logreg.audit.source_lines import expression_of
from jax_logreg.audit.steps import inputs_of, is_variable, needed_steps, take_step

# A trace of fewer steps stays as it is; so does a step that comes less often, or a shorter sum.
_LONG, _LEAST, _LEAST_TERMS = 60, 5, 3
# Rolled steps are at most this part of the steps, or they are not worth it.
_SHORTER = 0.7


def rolled(
    closed: Any, is_plain: Callable[[Any], bool], integers: Callable[[Any], dict[Any, Any]]
) -> Any:
    """A closed jaxpr that does the same in fewer steps; itself if there is none.

    Args:
        closed: with one output; its inputs and constants are arrays.
        is_plain: whether a step does what JAX does, and not a rule of the user's own.
        integers: finds the whole numbers of a closed jaxpr that do not depend on its inputs.
    """
    if len(closed.jaxpr.eqns) < _LONG:
        return closed
    with suppress(Exception):  # a step that JAX cannot take for many rows at once
        shorter = _Roller(closed, is_plain, integers(closed)).closed()
        if len(shorter.jaxpr.eqns) <= _SHORTER * len(closed.jaxpr.eqns):
            return shorter
    return closed


@dataclass
class _Node:
    """A step, or the sum of many terms.

    Attributes:
        eqn: the step; of a sum, its last addition.
        inputs: what goes in.
        key: equal for steps that do the same.
        signs: of the terms of a sum; empty for other steps.
    """

    eqn: Any
    inputs: list[Any]
    key: Hashable
    signs: tuple[int, ...] = ()

    @property
    def outputs(self) -> list[Any]:
        return list(self.eqn.outvars)


@dataclass
class _Sum:
    """Additions of one expression, each of the total so far and a term."""

    eqns: list[Any] = field(default_factory=list)
    terms: list[tuple[int, Any]] = field(default_factory=list)


class _Roller:
    """The program of a jaxpr in groups of like steps."""

    def __init__(self, closed: Any, is_plain: Callable[[Any], bool], integers: dict[Any, Any]):
        self._closed, self._jaxpr, self._is_plain = closed, closed.jaxpr, is_plain
        self._sources = {id(eqn): expression_of(eqn) for eqn in self._jaxpr.eqns}
        self._known = dict(zip(self._jaxpr.constvars, closed.consts, strict=True))
        self._known.update(integers)
        self._groups = self._make_groups()

    def closed(self) -> Any:
        """The program, with the lines of the user's code."""
        given = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in self._jaxpr.invars]
        closed = jax.make_jaxpr(self._run)(*given)
        steps = []
        for eqn in needed_steps(closed.jaxpr):
            number = str(eqn.source_info.name_stack).split("/")[0]
            if number.isdigit():
                source = self._groups[int(number)][0].eqn.source_info
                eqn = eqn.replace(source_info=source)
            steps.append(eqn)
        return core.ClosedJaxpr(closed.jaxpr.replace(eqns=steps), closed.consts)

    def _make_groups(self) -> list[list[_Node]]:
        """Like steps of which none waits for another, those first that others wait for."""
        nodes = list(self._nodes())
        maker = {v: i for i, node in enumerate(nodes) for v in node.outputs}
        needs = [
            sorted({maker[v] for v in n.inputs if is_variable(v) and v in maker}) for n in nodes
        ]
        rounds: list[dict[Hashable, int]] = []  # like steps before each, by key
        labels: list[Hashable] = []
        for node, before in zip(nodes, needs, strict=True):
            counts: dict[Hashable, int] = {}
            for i in before:
                for key, count in rounds[i].items():
                    counts[key] = max(counts.get(key, 0), count)
            labels.append((node.key, counts.get(node.key, 0)))
            counts[node.key] = counts.get(node.key, 0) + 1
            rounds.append(counts)
        size = Counter(labels)
        labels = [x if size[x] >= _LEAST else i for i, x in enumerate(labels)]
        return [[nodes[i] for i in group] for group in _in_order(labels, needs)]

    def _nodes(self) -> Iterator[_Node]:
        sums = self._sums()
        last = {id(found.eqns[-1]): found for found in sums}
        inner = {id(eqn) for found in sums for eqn in found.eqns[:-1]}
        for eqn in self._jaxpr.eqns:
            if id(eqn) in last:
                yield self._sum_node(last[id(eqn)])
            elif id(eqn) not in inner and not all(v in self._known for v in eqn.outvars):
                yield _Node(eqn, list(eqn.invars), self._key(eqn))

    def _sum_node(self, found: _Sum) -> _Node:
        eqn = found.eqns[-1]
        terms = [(s, v) for s, v in found.terms if is_variable(v) or v.val != 0]
        signs, inputs = zip(*terms, strict=True)
        key = ("sum", signs, str(eqn.outvars[0].aval), self._sources[id(eqn)])
        return _Node(eqn, list(inputs), key, signs)

    def _sums(self) -> list[_Sum]:
        """Totals that grow by one term after another."""
        uses = Counter(v for eqn in self._jaxpr.eqns for v in eqn.invars if is_variable(v))
        uses.update(v for v in self._jaxpr.outvars if is_variable(v))
        found: dict[Any, _Sum] = {}
        for eqn in self._jaxpr.eqns:
            if not _is_addition(eqn):
                continue
            total = _Sum()
            for sign, v in zip((1, _SIGNS[eqn.primitive.name]), eqn.invars, strict=True):
                before = found.get(v) if is_variable(v) and uses[v] == 1 else None
                if before and self._sources[id(before.eqns[-1])] == self._sources[id(eqn)]:
                    del found[v]
                    if sign == 1 and not total.terms:
                        total = before
                    else:
                        total.eqns += before.eqns
                        total.terms += [(sign * s, term) for s, term in before.terms]
                else:
                    total.terms.append((sign, v))
            total.eqns.append(eqn)
            found[eqn.outvars[0]] = total
        return [total for total in found.values() if len(total.terms) >= _LEAST_TERMS]

    def _key(self, eqn: Any) -> Hashable:
        """Equal for steps that do the same; a slice does so wherever it begins."""
        if eqn.effects or not self._is_plain(eqn):
            return id(eqn)
        order = [eqn.invars.index(v) if is_variable(v) else i for i, v in enumerate(eqn.invars)]
        params = {} if _is_window(eqn) else eqn.params
        avals = [str(v.aval.str_short()) for v in (*eqn.invars, *eqn.outvars)]
        text = tuple(sorted((name, str(value)) for name, value in params.items()))
        return eqn.primitive.name, text, tuple(order), tuple(avals), self._sources[id(eqn)]

    def _run(self, *given: Any) -> Any:
        values = _Values(self._known, dict(zip(self._jaxpr.invars, given, strict=True)))
        for number, group in enumerate(self._groups):
            with jax.named_scope(str(number)):
                if group[0].signs:
                    totals = _totals(group, values)
                    if len(group) == 1:
                        values.keep(group[0].outputs, [totals])
                    else:
                        values.put(group, [totals])
                elif len(group) == 1:
                    eqn = group[0].eqn
                    known = {v: values.one(v) for v in eqn.invars if is_variable(v)}
                    values.keep(eqn.outvars, take_step(self._jaxpr, eqn, inputs_of(eqn, known)))
                else:
                    values.put(group, self._stacked(group, values))
        return [values.one(v) for v in self._jaxpr.outvars]

    def _stacked(self, group: list[_Node], values: "_Values") -> list[Any]:
        """The outputs of like steps, stacked."""
        first = group[0].eqn
        columns = [
            values.stack([node.inputs[i] for node in group]) for i in range(len(first.invars))
        ]
        if _is_window(first):
            starts = np.array([node.eqn.params["start_indices"] for node in group])
            step = _window(first.outvars[0].aval.shape)
            columns.append((starts, 0))
        else:
            fresh = first.replace(invars=[core.Var(v.aval) for v in first.invars])

            def step(*inputs: Any) -> Any:
                return take_step(self._jaxpr, fresh, inputs)

        arrays, axes = zip(*columns, strict=True)
        if all(axis is None for axis in axes):
            return [jnp.broadcast_to(x, (len(group), *jnp.shape(x))) for x in step(*arrays)]
        return list(jax.vmap(step, axes)(*arrays))


class _Values:
    """The numbers of a program's variables: each is a row of a stack."""

    def __init__(self, known: dict[Any, Any], singles: dict[Any, Any]):
        self._known, self._singles = known, singles
        self._place: dict[Any, tuple[int, int]] = {}
        self._stacks: list[Any] = []
        self._constants: dict[tuple[int, ...], jax.Array] = {}

    def put(self, group: list[_Node], stacks: Sequence[Any]) -> None:
        """Remember the outputs of a group."""
        for k, stack in enumerate(stacks):
            self._stacks.append(stack)
            for row, node in enumerate(group):
                self._place[node.outputs[k]] = len(self._stacks) - 1, row

    def keep(self, variables: Sequence[Any], found: Sequence[Any]) -> None:
        """Remember the outputs of a step by itself."""
        self._singles.update(zip(variables, found, strict=True))

    def one(self, v: Any) -> Any:
        """One number."""
        if not is_variable(v):
            return v.val
        if v in self._known:
            return self._known[v]
        if v not in self._singles:
            stack, row = self._place[v]
            self._singles[v] = jax.lax.index_in_dim(self._stacks[stack], row, keepdims=False)
        return self._singles[v]

    def stack(self, atoms: list[Any]) -> tuple[Any, int | None]:
        """Several numbers, and the axis along which they are stacked; None if all are one."""
        if len({v if is_variable(v) else np.asarray(v.val).item() for v in atoms}) == 1:
            return self.one(atoms[0]), None
        if all(not is_variable(v) or v in self._known for v in atoms):
            return self._constant(atoms), 0
        parts, rows = self._parts(atoms)
        whole = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
        return _rows(whole, rows), 0

    def _constant(self, atoms: list[Any]) -> jax.Array:
        key = tuple(map(id, atoms))
        if key not in self._constants:
            numbers = [np.asarray(self.one(v), v.aval.dtype) for v in atoms]
            self._constants[key] = jnp.asarray(np.stack(numbers))
        return self._constants[key]

    def _parts(self, atoms: list[Any]) -> tuple[list[Any], list[int]]:
        """The stacks that hold some numbers, and in these laid end to end the row of each."""
        fixed = [v for v in atoms if not is_variable(v) or v in self._known]
        stacks = dict.fromkeys(
            self._place[v][0] for v in atoms if is_variable(v) and v in self._place
        )
        loose = list(dict.fromkeys(v for v in atoms if is_variable(v) and not self._is_kept(v)))
        parts = [self._stacks[i] for i in stacks] + [self.one(v)[None] for v in loose]
        parts += [self._constant(fixed)] if fixed else []
        begins = np.cumsum([0, *(len(part) for part in parts)])
        of_stack = dict(zip(stacks, begins, strict=False))
        of_loose = dict(zip(loose, begins[len(stacks) :], strict=False))
        rows, count = [], len(fixed)
        for v in atoms:
            if not is_variable(v) or v in self._known:
                rows.append(int(begins[-1]) - count)
                count -= 1
            elif v in self._place:
                stack, row = self._place[v]
                rows.append(int(of_stack[stack]) + row)
            else:
                rows.append(int(of_loose[v]))
        return parts, rows

    def _is_kept(self, v: Any) -> bool:
        return v in self._place or v in self._known


def _in_order(labels: list[Hashable], needs: list[list[int]]) -> list[list[int]]:
    """Groups of equal labels, each after those that it needs.

    Raises:
        ValueError: if groups need one another.
    """
    groups: dict[Hashable, list[int]] = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(i)
    after: dict[Hashable, set[Hashable]] = {label: set() for label in groups}
    waiting = Counter[Hashable]()
    for label, members in groups.items():
        for needed in {labels[k] for i in members for k in needs[i]}:
            after[needed].add(label)
            waiting[label] += 1
    ready, found = [label for label in groups if not waiting[label]], []
    while ready:
        label = ready.pop()
        found.append(groups[label])
        for other in after[label]:
            waiting[other] -= 1
            ready += [] if waiting[other] else [other]
    if len(found) < len(groups):
        raise ValueError("steps of two expressions take turns")
    return found


def _totals(group: list[_Node], values: _Values) -> Any:
    """The sums of a group, stacked if they are several."""
    signs, several = np.array(group[0].signs), len(group) > 1
    rows, axis = values.stack([v for node in group for v in node.inputs])
    if axis is None:
        rows = jnp.broadcast_to(rows, (len(group) * len(signs), *jnp.shape(rows)))
    terms = rows.reshape(len(group), len(signs), *rows.shape[1:]) if several else rows
    if np.all(signs == -1):
        return -jnp.sum(terms, axis=int(several))
    if not np.all(signs == 1):
        signs = signs.reshape(-1, *(1,) * (rows.ndim - 1))
        terms = terms * signs.astype(terms.dtype)
    return jnp.sum(terms, axis=int(several))


def _window(sizes: Sequence[int]) -> Callable[..., list[Any]]:
    """A slice of these sizes, from where it starts."""
    axes = tuple(range(len(sizes)))
    numbers = jax.lax.GatherDimensionNumbers(axes, (), axes)

    def step(x: Any, starts: Any) -> list[Any]:
        mode = jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
        return [jax.lax.gather(x, starts, numbers, tuple(sizes), mode=mode)]

    return step


def _rows(stack: Any, rows: list[int]) -> Any:
    """Rows of an array, as a slice where they follow one another."""
    first, count = rows[0], len(rows)
    if rows == list(range(first, first + count)):
        return stack if count == len(stack) else jax.lax.slice_in_dim(stack, first, first + count)
    shape = stack.shape[1:]
    numbers = jax.lax.GatherDimensionNumbers(tuple(range(1, stack.ndim)), (0,), (0,))
    mode = jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return jax.lax.gather(stack, np.array(rows)[:, None], numbers, (1, *shape), mode=mode)


_SIGNS = {"add": 1, "add_any": 1, "sub": -1}


def _is_addition(eqn: Any) -> bool:
    shapes = {v.aval.shape for v in (*eqn.invars, *eqn.outvars)}
    is_float = jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.inexact)
    return eqn.primitive.name in _SIGNS and len(shapes) == 1 and is_float


def _is_window(eqn: Any) -> bool:
    """A slice without gaps."""
    return eqn.primitive.name == "slice" and set(eqn.params["strides"] or (1,)) == {1}
