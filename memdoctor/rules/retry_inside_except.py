"""After running out of memory, the work is tried again while the exception is still being handled.

Until the handler is left, the exception's traceback refers to the frames of the failed attempt, and those to all their
tensors. The second attempt runs beside them; `torch.cuda.empty_cache()` in the handler frees none of it.

Bad::

    try:
        train(model, batch_size)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        train(model, batch_size // 2)

Good::

    out_of_memory = False
    try:
        train(model, batch_size)
    except torch.cuda.OutOfMemoryError:
        out_of_memory = True
    if out_of_memory:
        torch.cuda.empty_cache()
        train(model, batch_size // 2)

Does not see: a retry through a function of another file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Severity
from memdoctor.rules._names import identifiers, last_name, path_of, shown
from memdoctor.rules._rule import Rule
from memdoctor.rules._source import Source

_MEMORY_WORDS = ("out of memory", "cuda error")
_GENERAL_ERRORS = frozenset({"RuntimeError", "Exception", "BaseException"})
_SMALL_WORK = frozenset(
    "print str len int float range format log info warning error debug item append empty_cache collect time".split()
)


def check(source: Source) -> Iterator[Finding]:
    """Report the first call of the `try` body that an out-of-memory handler repeats."""
    for node in source.tries:
        handlers = [handler for handler in node.handlers if _is_out_of_memory(handler)]
        tried = {path_of(call.func) for call in _calls(node.body)} - {None} if handlers else set()
        for handler in handlers:
            if _goes_on_without_gpu(handler):
                continue
            yield from _retries(source, handler, tried)


def _calls(body: list[ast.stmt]) -> Iterator[ast.Call]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and last_name(node.func) not in _SMALL_WORK:
                yield node


def _is_out_of_memory(handler: ast.ExceptHandler) -> bool:
    caught = set(identifiers(handler.type)) if handler.type is not None else _GENERAL_ERRORS
    if "OutOfMemoryError" in caught:
        return True
    return bool(caught & _GENERAL_ERRORS) and any(_speaks_of_memory(statement) for statement in handler.body)


def _speaks_of_memory(statement: ast.stmt) -> bool:
    constants = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
    return any(word in text.lower() for text in constants if isinstance(text, str) for word in _MEMORY_WORDS)


def _goes_on_without_gpu(handler: ast.ExceptHandler) -> bool:
    """The retry runs on the host: what the failed attempt holds on the card is not in its way."""
    nodes = [node for statement in handler.body for node in ast.walk(statement)]
    moved = any(isinstance(node, ast.Constant) and node.value == "cpu" for node in nodes)
    return moved or any(isinstance(node, ast.Call) and last_name(node.func) == "cpu" for node in nodes)


def _retries(source: Source, handler: ast.ExceptHandler, tried: set[str | None]) -> Iterator[Finding]:
    for call in _calls(handler.body):
        if path_of(call.func) in tried:
            yield RULE.finding(
                source, call,
                f"`{shown(call.func)}` is called again inside `except`: the exception still holds the frames of the"
                " failed attempt and all their tensors, so the retry has less memory than the first try.",
                variable=shown(call.func),
                advice=Advice("Set a flag in the handler, and retry after it.", Applicability.UNSAFE),
            )
            return


RULE = Rule("MD108", "retry-inside-except", Severity.WARNING, check)
