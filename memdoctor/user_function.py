"""A function that the user names as text, `train.py:make_step`, so that a fresh process can load it again.

Nothing of the user's runs until `load`. A file is loaded as an import would, not as `__main__`: what stands under
`if __name__ == "__main__":` stays out.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from memdoctor.foundation.errors import BadInput, MemdoctorError
from memdoctor.python_file import compiled

_EXAMPLE = "train.py:make_step"


@dataclass(frozen=True)
class UserFunction:
    """Where a function is found; its text is what the user would type."""

    source: str
    """The path of a file, or the dotted name of a module."""
    name: str
    is_module: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def named(text: str) -> UserFunction:
    """Read `FILE.py:FUNCTION`. Raises `BadInput` if the file is missing or not Python; nothing of it runs."""
    source, colon, name = text.rpartition(":")
    if not (source and name.isidentifier()):
        next_step = "Write the file, a colon and the function: train.py:make_step\n"
        next_step += "A script is started as it stands with: train.py --batch-arg --batch-size"
        raise BadInput(f"{text} names no function of a file.", next_step)
    compiled(source, example=_EXAMPLE)
    return UserFunction(source, name)


def of(function: Callable[..., Any]) -> UserFunction:
    """The name under which another process finds the function. Raises `BadInput` if it has none."""
    name = getattr(function, "__qualname__", "")
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or getattr(module, name, None) is not function:
        raise BadInput(
            f"{name or function!r} cannot be found by its name, and each trial loads it in a fresh process.",
            "Define it with `def` at the top level of a file.",
        )
    spec = getattr(module, "__spec__", None)
    if spec is not None:
        return UserFunction(spec.name, name, is_module=True)
    path = getattr(module, "__file__", None)
    if path is None:
        found = f"{name} was typed into a prompt, and each trial loads it in a fresh process."
        raise BadInput(found, "Write it to a file.")
    return UserFunction(path, name)


def load(function: UserFunction) -> Any:
    """Import what holds the function, and return what has its name; this runs the user's code.

    Raises `BadInput` if nothing has that name, and, with the user's error as its cause, if the import fails.
    """
    try:
        module = importlib.import_module(function.source) if function.is_module else _import_file(function.source)
    except MemdoctorError:
        raise
    except (Exception, SystemExit) as error:
        next_step = 'Correct it, or put what only a program run needs under `if __name__ == "__main__":`.'
        raise BadInput(f"{function.source} cannot be imported: {describe(error)}.", next_step) from error
    found = getattr(module, function.name, None)
    if found is None:
        raise _missing(function, module)
    return found


def describe(error: BaseException) -> str:
    """`ValueError: batch too small`, on one line and to be followed by a full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def takes(function: Callable[..., Any], *arguments: object, **named: object) -> bool:
    """True if it can be called so, and if nobody can tell, as for some functions written in C."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def takes_one_first(function: Callable[..., Any]) -> bool:
    """True if it takes a positional argument that is not the `self` of a method."""
    known = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return bool(known) and known[0].name != "self" and known[0].kind in (*positional, inspect.Parameter.VAR_POSITIONAL)


def arguments_that_are_needed(function: Callable[..., Any]) -> list[str]:
    """The names of those without a default."""
    known = inspect.signature(function).parameters.values()
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in known if each.default is each.empty and each.kind not in several]


def has_argument(function: Callable[..., Any], name: str) -> bool:
    """True if it can be called with `name=`, whatever else it needs."""
    known = inspect.signature(function).parameters
    return name in known or any(each.kind is each.VAR_KEYWORD for each in known.values())


def parameters(function: Callable[..., Any]) -> str:
    """`2 arguments (model, optimizer)`; those that must be given, else all."""
    known = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in known]
    needed = [parameter.name for parameter in known if parameter.default is parameter.empty]
    names = needed or names
    if not names:
        return "no argument"
    return f"{len(names)} argument{'s' if len(names) > 1 else ''} ({', '.join(names)})"


def _import_file(path: str) -> ModuleType:
    """Like `import`, under the file's own name and with its folder first, so that its classes can be pickled."""
    code = compiled(path, example=_EXAMPLE)
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    sys.argv[:] = [path]
    module = ModuleType(Path(path).stem)
    module.__file__ = os.path.abspath(path)
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102  # running it is what was asked for
    return module


def _missing(function: UserFunction, module: ModuleType) -> BadInput:
    functions = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    near = difflib.get_close_matches(function.name, functions, n=1) or functions
    has = f"It has: {', '.join(near)}." if near else "It has no function at all."
    return BadInput(f"{function.source} has no function {function.name}.", has)
