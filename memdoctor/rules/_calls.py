"""What a call evaluates to: methods of tensors, functions of torch, models, losses, and functions of the same file."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from memdoctor.rules import _summaries
from memdoctor.rules._grad_mode import switches_grad_off
from memdoctor.rules._graph_flow import Backward, Forward, LocalCall
from memdoctor.rules._modes import Mode
from memdoctor.rules._names import last_name, path_of, place_of
from memdoctor.rules._scopes import Scope
from memdoctor.rules._torch_names import (
    CARRYING_BUILTINS,
    CARRYING_IMPORTS,
    CARRYING_METHODS,
    CUTTING_BUILTINS,
    CUTTING_FUNCTIONS,
    CUTTING_METHODS,
    FRAMEWORK_STEPS,
    GRAD_SWITCH_NAME,
    LOSS_FUNCTIONS,
    MAKING_FUNCTIONS,
    NUMBER_PACKAGES,
    PAIR_METHODS,
    is_criterion,
)
from memdoctor.rules._values import ARRAY, MADE_UP, ON_DEVICE, Kind, Role, Value, cut

if TYPE_CHECKING:
    from memdoctor.rules._expressions import Expressions

_ADDERS = frozenset({"append", "appendleft", "add", "insert", "extend"})
_EMPTIERS = frozenset({"clear"})
_LIMITERS = frozenset({"pop", "popleft", "popitem"})
_TOOL_PACKAGES = ("torch.utils", "torch.optim", "torch.distributed", "torch.cuda", "torch.hub")
_BACKWARDS = frozenset({"backward", "manual_backward"})


def value_of(here: Expressions, node: ast.Call) -> Value:
    """Evaluate a call and record what it means for graphs."""
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in _ADDERS:
        added = _added(here, node, function)
        if added is not None:
            return added
    arguments = [here.evaluate(argument) for argument in node.args]
    keywords = {keyword.arg or "**": here.evaluate(keyword.value) for keyword in node.keywords}
    inputs = [*arguments, *keywords.values()]
    imported = here.source.imports.resolve(function)
    if imported and not here.source.is_model(function):
        return _imported(here, node, imported, inputs)
    if isinstance(function, ast.Attribute):
        return _method(here, node, function, arguments, inputs)
    return _function(here, node, arguments, inputs)


def _added(here: Expressions, node: ast.Call, function: ast.Attribute) -> Value | None:
    """`container.append(x)`, also `d[k].append(x)` and `d.setdefault(k, []).append(x)`."""
    if place_of(function.value) is None or not node.args or here.source.imports.resolve(function):
        return None
    if function.attr == "add" and here.is_stranger(function.value):
        return None
    if here.source.callee(node, here.scope) is not None:
        return None
    item = node.args[-1]
    here.keep(node, function.value, here.evaluate(item), [item], is_sum=False)
    return cut()


def _imported(here: Expressions, node: ast.Call, name: str, inputs: list[Value]) -> Value:
    package, last = name.split(".")[0], name.split(".")[-1]
    if package in NUMBER_PACKAGES:
        return Value(Kind.CUT, name=ARRAY)
    if last in _BACKWARDS:
        _note_backward(here, node, inputs[:1])
        return cut()
    if last == "deque":
        return Value(Kind.OPAQUE, inputs, here.loops, name="deque" if len(node.args) > 1 or node.keywords else "")
    if last == GRAD_SWITCH_NAME:
        here.grad_off = switches_grad_off(node)
    if package == "torch":
        return _torch(here, node, name, last, inputs)
    if is_criterion(last):
        return here.computed(inputs, Role.LOSS)
    return here.computed(inputs) if name in CARRYING_IMPORTS else here.opaque(inputs)


def _torch(here: Expressions, node: ast.Call, name: str, last: str, inputs: list[Value]) -> Value:
    if last in CUTTING_FUNCTIONS:
        return Value(Kind.CUT, name=MADE_UP if last in MAKING_FUNCTIONS else "")
    if "functional" in name and LOSS_FUNCTIONS.fullmatch(last):
        return here.computed(inputs, Role.LOSS)
    if last[:1].isupper() or name.startswith(_TOOL_PACKAGES):
        return here.opaque(inputs)
    if last == "grad":
        _note_backward(here, node, inputs[:1])
        return here.opaque(inputs)
    result = here.computed(inputs)
    return _pair(here, result) if last in PAIR_METHODS and len(node.args) > 1 else result


def _pair(here: Expressions, result: Value) -> Value:
    if result.kind is not Kind.CUT:
        result.parts = {"0": here.derived(result), "1": cut()}
    return result


def _method(
    here: Expressions, node: ast.Call, function: ast.Attribute, arguments: list[Value], inputs: list[Value]
) -> Value:
    name = function.attr
    if name in _BACKWARDS:
        _note_backward(here, node, _operands(here, function.value, arguments))
        return cut()
    receiver = here.evaluate(function.value)
    if name == "numpy":
        here.flow.read_as_arrays.append(receiver)
    if name in CUTTING_METHODS:
        return Value(Kind.CUT, name=ON_DEVICE) if name == "detach" and receiver.role is Role.OUTPUT else cut()
    local = _local(here, node, inputs)
    if local is not None:
        return local
    if _is_forward(here, node, inputs):
        return _forward(here, node, inputs)
    if is_criterion(name):
        return here.computed([receiver, *inputs], Role.LOSS) if inputs else here.opaque([receiver])
    _change(here, node, function, name)
    if name in CARRYING_METHODS:
        result = here.computed([receiver, *inputs])
        return _pair(here, result) if name in PAIR_METHODS and (node.args or node.keywords) else result
    return here.opaque([receiver, *inputs])


def _note_backward(here: Expressions, node: ast.Call, operands: list[Value]) -> None:
    here.flow.backwards += [Backward(node, operand, here.loops) for operand in operands]


def _operands(here: Expressions, node: ast.AST, arguments: list[Value]) -> list[Value]:
    """`loss.backward()`, or `accelerator.backward(loss)` whose receiver is no tensor of this scope."""
    path = path_of(node)
    receiver = here.evaluate(node) if path is None else here.stored(path)
    is_tool = bool(arguments) and receiver.kind in (Kind.OUTSIDE, Kind.OPAQUE)
    return arguments[:1] if is_tool else [receiver]


def _change(here: Expressions, node: ast.Call, function: ast.Attribute, name: str) -> None:
    path = path_of(function.value)
    if path is None:
        return
    if name in ("eval", "train"):
        _set_mode(here, node, path, name)
    if name in _EMPTIERS:
        here.store(path, cut())
    elif name in _LIMITERS:
        here.flow.capped.add(path)


def _set_mode(here: Expressions, node: ast.Call, path: str, name: str) -> None:
    argument = node.args[0] if node.args else None
    if name == "eval" and argument is None:
        here.modes = here.modes.after(Mode(True, path, here.loops))
    elif name == "train" and (argument is None or isinstance(argument, ast.Constant)):
        evaluates = isinstance(argument, ast.Constant) and argument.value is False
        here.modes = here.modes.after(Mode(evaluates, path, here.loops))


def _function(here: Expressions, node: ast.Call, arguments: list[Value], inputs: list[Value]) -> Value:
    name = last_name(node.func)
    if not isinstance(node.func, ast.Name):
        here.evaluate(node.func)
    elif name in CUTTING_BUILTINS:
        return cut()
    elif name in CARRYING_BUILTINS:
        return here.computed(inputs) if name in ("sum", "max", "min", "abs") else _collected(here, inputs)
    local = _local(here, node, inputs)
    if local is not None:
        return local
    if _is_forward(here, node, inputs):
        return _forward(here, node, inputs)
    if is_criterion(name) and inputs:
        return here.computed(inputs, Role.LOSS)
    return here.opaque(inputs)


def _collected(here: Expressions, inputs: list[Value]) -> Value:
    """A container or iterator over values that were there before: grad mode has no say."""
    return Value(Kind.MIX, inputs, here.loops)


def _is_forward(here: Expressions, node: ast.Call, inputs: list[Value]) -> bool:
    """Without an argument only of a known model: `solver.model()` hands out what it holds."""
    return here.source.is_model(node.func) and (bool(inputs) or here.source.is_known_model(node.func))


def _forward(here: Expressions, node: ast.Call, inputs: list[Value]) -> Value:
    is_step = last_name(node.func) in FRAMEWORK_STEPS  # runs the model, and may return anything
    value = here.opaque(inputs) if is_step else here.source_value(node, Role.OUTPUT, inputs)
    value.name = value.name or ON_DEVICE
    path = path_of(node.func) or ""
    here.flow.forwards.append(Forward(node, path, value, here.loops, here.grad_off, here.modes.for_call(path)))
    return value


def _local(here: Expressions, node: ast.Call, inputs: list[Value]) -> Value | None:
    """A call of a function of this file: its summary says what comes back."""
    callee = here.source.callee(node, here.scope)
    if callee is None:
        return None
    arguments = _by_parameter(here, node, callee, inputs)
    value = _summaries.result_of(here, node, callee, arguments)
    inner = here.source.flow(callee)
    trains = inner is not None and inner.runs_backward
    mode = here.modes.last
    here.flow.calls.append(LocalCall(node, callee, arguments, value, here.loops, here.grad_off, trains, mode))
    _forget_attributes(here, node, callee)
    return value


def _by_parameter(here: Expressions, node: ast.Call, callee: Scope, inputs: list[Value]) -> dict[str, Value]:
    names = [*callee.parameters[:len(node.args)], *[keyword.arg or "**" for keyword in node.keywords]]
    if len(names) != len(inputs) or any(isinstance(argument, ast.Starred) for argument in node.args):
        return {}
    return dict(zip(names, inputs))


def _forget_attributes(here: Expressions, node: ast.Call, callee: Scope) -> None:
    """What a method assigns to its object is no longer what was known here."""
    if not isinstance(node.func, ast.Attribute):
        return
    receiver = path_of(node.func.value)
    for path in callee.own_attributes if receiver is not None else ():
        here.store(f"{receiver}{path[len('self'):]}", here.opaque())
