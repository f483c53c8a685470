"""A function named as text is found again, or refused in a sentence that repeats what was typed."""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import pytest

from memdoctor import user_function
from memdoctor.foundation.errors import BadInput
from memdoctor.user_function import UserFunction


def at_the_top_level(batch_size: int) -> None:
    """For `of`."""


@pytest.fixture(autouse=True)
def restored_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading belongs into a process of its own: it changes the search path and the arguments."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", sys.argv[:])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def written(folder: Path, text: str) -> str:
    path = folder / "train_it.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_named_function_is_loaded_with_its_neighbours(tmp_path: Path) -> None:
    """As under `python train.py`: the file's folder comes first, and the file is not `__main__`."""
    (tmp_path / "sizes_nearby.py").write_text("DOUBLE = 2\n")
    path = written(tmp_path, "import sizes_nearby\ndef f(n): return n * sizes_nearby.DOUBLE, __name__\n")
    assert user_function.load(user_function.named(f"{path}:f"))(21) == (42, "train_it")


def test_naming_runs_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "raise SystemExit\n")
    assert user_function.named(f"{path}:f") == UserFunction(path, "f")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("train.py", "train.py names no function of a file.", id="no function"),
        pytest.param("train.py:", "train.py: names no function of a file.", id="nothing behind the colon"),
        pytest.param(":f", ":f names no function of a file.", id="no file"),
        pytest.param("train.py:a b", "train.py:a b names no function", id="no Python name"),
        pytest.param("missing.py:f", "missing.py cannot be read: No such file or directory.", id="no such file"),
        pytest.param(".:f", ". is a folder.", id="a folder"),
    ],
)
def test_what_cannot_be_a_function_is_refused(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as refused:
        user_function.named(text)
    assert refused.value.found.startswith(says)
    assert refused.value.next_step


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"def f(:\n", id="syntax error"),
        pytest.param(b"\x89PNG\r\n\x00\x00", id="a picture"),
        pytest.param("x = 'ä'".encode("latin-1"), id="neither UTF-8 nor declared"),
    ],
)
def test_a_file_that_is_not_python_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is not Python"):
        user_function.named(f"{path}:f")


@pytest.mark.parametrize(
    ("text", "says", "next_step"),
    [
        pytest.param("def makestep(n): ...", "has no function make_step.", "It has: makestep.", id="another name"),
        pytest.param("", "has no function make_step.", "It has no function at all.", id="empty file"),
        pytest.param("1 / 0", "cannot be imported: ZeroDivisionError: division by zero.", "Correct it", id="raises"),
        pytest.param("raise SystemExit(2)", "cannot be imported: SystemExit: 2.", "__main__", id="a program that ends"),
    ],
)
def test_what_cannot_be_loaded_is_refused(text: str, says: str, next_step: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadInput) as refused:
        user_function.load(user_function.named(f"{path}:make_step"))
    assert refused.value.found.endswith(says)
    assert next_step in refused.value.next_step


def test_a_sentence_of_memdoctor_is_passed_on(tmp_path: Path) -> None:
    """A file that uses memdoctor wrongly is told about that, not about its import."""
    path = written(tmp_path, "import memdoctor\n@memdoctor.auto_batch_size(start=0)\ndef make_step(n): ...")
    with pytest.raises(BadInput, match="^a batch size cannot start at 0"):
        user_function.load(user_function.named(f"{path}:make_step"))


def test_an_error_in_words() -> None:
    assert user_function.describe(ValueError("too\n  small.")) == "ValueError: too small"
    assert user_function.describe(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_function_of_a_module_is_found_by_its_name() -> None:
    name = user_function.of(collections.namedtuple)
    assert name == UserFunction("collections", "namedtuple", is_module=True)
    assert user_function.load(name) is collections.namedtuple


def test_a_function_of_the_program_itself_is_found_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python train.py` has no module name that another process could import."""
    monkeypatch.setattr(sys.modules[__name__], "__spec__", None)
    assert user_function.of(at_the_top_level) == UserFunction(__file__, "at_the_top_level")


def test_a_function_typed_into_a_prompt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "__spec__", None)
    monkeypatch.delattr(sys.modules[__name__], "__file__")
    with pytest.raises(BadInput, match="typed into a prompt"):
        user_function.of(at_the_top_level)


def test_a_function_inside_a_function_is_refused() -> None:
    def inner(batch_size: int) -> None: ...

    for nameless in (inner, lambda batch_size: None):
        with pytest.raises(BadInput, match="cannot be found by its name"):
            user_function.of(nameless)


def test_whether_a_call_fits() -> None:
    assert user_function.takes(lambda batch_size: 0, 8)
    assert user_function.takes(lambda batch_size, depth=3: 0, 8)
    assert user_function.takes(lambda *sizes: 0, 8)
    assert not user_function.takes(lambda model, optimizer: 0, 8)
    assert not user_function.takes(lambda: 0, 8)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        pytest.param(lambda: 0, "no argument", id="none"),
        pytest.param(lambda model: 0, "1 argument (model)", id="one"),
        pytest.param(lambda model, optimizer, depth=3: 0, "2 arguments (model, optimizer)", id="those that are needed"),
    ],
)
def test_parameters_in_words(function: object, text: str) -> None:
    assert user_function.parameters(function) == text  # type: ignore[arg-type]  # lambdas in a table
