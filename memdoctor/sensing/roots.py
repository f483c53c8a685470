"""Where a search for holders begins: the user's variables, those first that can carry something over iterations."""

from __future__ import annotations

import contextvars
import inspect
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import FrameType

from memdoctor.foundation.locations import shown_path
from memdoctor.foundation.looks import Piece
from memdoctor.foundation.sources import source_of
from memdoctor.sensing.frames import is_module, local_variables, qualified_name
from memdoctor.sensing.liveness import dead_names, is_in_loop
from memdoctor.sensing.registries import registries
from memdoctor.sensing.user_code import is_user_file, module_file

_PERSISTENT_FRAMES = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_SHELLS_OWN = ("get_ipython", "exit", "quit")
"""Among the variables of a notebook: they lead to the shell, and from there to all the others."""


@dataclass
class Root:
    """A variable and its value; it lives for the length of one search."""

    piece: Piece
    value: object
    carried: bool = True
    """False where each iteration writes the variable before it reads it, and for variables of libraries."""

    @property
    def is_last_resort(self) -> bool:
        """True if it is asked for what no variable that lasts has: registries of libraries lead to all of them."""
        return not self.carried or self.piece.kind == "registry"


def user_roots() -> list[Root]:
    """All variables of the user, in the order in which they may claim what they reach.

    Frames of all threads, outermost first; modules; context variables; what Python keeps for them; then what starts
    anew in each iteration, and the variables of libraries on the stack, such as an event loop's.
    """
    stacks = _stacks()
    frames = [root for stack in stacks for root in _stack_roots([frame for frame in stack if _is_users(frame)])]
    roots = [*frames, *_module_roots(stacks)]
    roots += _context_roots(roots)
    roots += [Root(piece, value) for piece, value in registries() if value is not None]
    roots.sort(key=lambda root: not root.carried)
    return [*roots, *_library_roots(stacks)]


def user_files() -> tuple[str, ...]:
    """Source files of the user's modules that are loaded."""
    files = {module_file(name) for name in list(sys.modules)}
    return tuple(sorted(shown_path(file) for file in files if file is not None))


def _is_users(frame: FrameType) -> bool:
    return is_user_file(frame.f_code.co_filename)


def _stacks() -> list[list[FrameType]]:
    """Of every thread, outermost frame first; the calling thread's first."""
    own = threading.get_ident()
    others = [frame for thread, frame in sys._current_frames().items() if thread != own]
    return [_outermost_first(frame) for frame in (_calling_frame(), *others)]


def _calling_frame() -> FrameType | None:
    """The frame that called memdoctor: a list of frames with our own in it would be a cycle and outlive the search."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return frame


def _outermost_first(frame: FrameType | None) -> list[FrameType]:
    stack = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    return stack[::-1]


def _stack_roots(stack: list[FrameType]) -> Iterator[Root]:
    below_a_loop = False
    for frame in stack:
        source = source_of(frame.f_code.co_filename) or ""
        loops = is_in_loop(source, frame.f_lineno)
        dead = dead_names(source, frame.f_lineno)
        begins_anew = below_a_loop and not loops and not frame.f_code.co_flags & _PERSISTENT_FRAMES
        for root in _frame_roots(frame):
            root.carried = not begins_anew and root.piece.text not in dead
            yield root
        below_a_loop = below_a_loop or loops


def _frame_roots(frame: FrameType) -> Iterator[Root]:
    file = shown_path(frame.f_code.co_filename)
    if is_module(frame):
        yield from _global_roots(frame.f_globals, file)
        return
    scope, line = qualified_name(frame), frame.f_code.co_firstlineno
    for name, value in local_variables(frame):
        yield Root(Piece("local", name, scope, file, line), value)


def _global_roots(variables: dict[str, object], file: str | None) -> Iterator[Root]:
    scope = str(variables.get("__name__"))
    for name, value in list(variables.items()):
        if not name.startswith("__") and name not in _SHELLS_OWN:
            yield Root(Piece("global", name, scope, file, 0), value)


def _module_roots(stacks: list[list[FrameType]]) -> Iterator[Root]:
    """Globals of modules that have no frame on a stack, also of those that `exec` runs without a module."""
    done = {id(frame.f_globals) for stack in stacks for frame in stack if is_module(frame)}
    users = [frame for stack in stacks for frame in stack if _is_users(frame)]
    candidates = [(frame.f_globals, frame.f_code.co_filename) for frame in users]
    modules = [(module, module_file(name)) for name, module in list(sys.modules.items())]
    candidates += [(vars(module), file) for module, file in modules if file is not None]
    for variables, file in candidates:
        if id(variables) not in done:
            done.add(id(variables))
            yield from _global_roots(variables, shown_path(file))


def _context_roots(globals_: list[Root]) -> Iterator[Root]:
    """Under the name of the global that has the variable, if there is one."""
    pieces = {id(root.value): root.piece for root in globals_ if type(root.value) is contextvars.ContextVar}
    for variable, value in contextvars.copy_context().items():
        piece = pieces.get(id(variable), Piece("contextvar", variable.name))
        yield Root(replace(piece, kind="contextvar"), value)


def _library_roots(stacks: list[list[FrameType]]) -> Iterator[Root]:
    """Not of what lies around the user's outermost frame: pytest or a notebook's kernel, large and nobody's holder."""
    for stack in stacks:
        outermost = next((at for at, frame in enumerate(stack) if _is_users(frame)), 0)
        for frame in stack[outermost:]:
            if not _is_users(frame) and not is_module(frame) and not _is_ours(frame):
                for name, value in local_variables(frame):
                    yield Root(Piece("local", name, qualified_name(frame)), value, carried=False)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("memdoctor.")
