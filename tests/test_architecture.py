"""The house: who may import whom, how large files and functions get, and what must never load torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "memdoctor"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})

LAYERS = {
    "foundation": {"foundation"},
    "sensing": {"foundation", "sensing"},
    "virtual": {"foundation", "virtual"},
    "rules": {"foundation", "rules"},
    "analysis": {"foundation", "analysis"},
    "treatments": {"foundation", "treatments"},
    "reports": {"foundation", "reports"},
    "workflows": {"foundation", "sensing", "virtual", "rules", "analysis", "treatments", "reports", "workflows"},
    "cli": {"foundation", "workflows", "reports", "cli"},
    "integrations": {"foundation", "workflows", "reports", "integrations"},
}
"""Which layers each layer may import; the files beside the folders are the workflows."""

OUTSIDE = {
    "foundation": set(),
    "sensing": {"torch", "pynvml", "GPUtil", "psutil"},
    "virtual": {"torch"},
    "rules": set(),
    "analysis": set(),
    "treatments": {"torch"},
    "reports": {"rich", "jinja2", "plotly"},
    "workflows": set(),
    "cli": {"click"},
    "integrations": {"pytest", "lightning", "transformers", "tensorboard", "wandb", "IPython"},
}
"""Packages outside the standard library that each layer may import."""

WITHOUT_TORCH = ("virtual/cards.py", "virtual/allocator", "virtual/kernels/")
"""Parts of `virtual` that are plain Python."""

ONE_FILE_ALONE = {"sweep_ray.py": {"ray"}}
"""Outside packages that exactly one file may import, because it is loaded only by a user who asks for the package."""

FAMILIES = ("rules", "treatments", "virtual/operators")
"""Folders of one interface, whose `__init__.py` lists all their members."""

FILE_LIMIT = 400
FUNCTION_LIMIT = 50


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


each_file = pytest.mark.parametrize("path", FILES, ids=relative)


def layer_of(module: str) -> str:
    """`memdoctor.sensing.devices` is in `sensing`, `memdoctor.run` in `workflows`; the package itself is anybody's."""
    parts = module.split(".")
    if len(parts) == 1:
        return "foundation"
    return parts[1] if parts[1] in LAYERS else "workflows"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno} imports relative to itself"
            yield node.lineno, node.module or ""


def outside_packages(path: Path) -> set[str]:
    layer = layer_of(module_of(path))
    allowed = set() if relative(path).startswith(WITHOUT_TORCH) else OUTSIDE[layer]
    return allowed | ONE_FILE_ALONE.get(relative(path), set())


@each_file
def test_imports_follow_the_table(path: Path) -> None:
    layer = layer_of(module_of(path))
    wrong = []
    for line, module in imports_of(path):
        package = module.partition(".")[0]
        if package == "memdoctor":
            allowed = layer_of(module) in LAYERS[layer] or path.name == "__main__.py"
        else:
            allowed = package in sys.stdlib_module_names or package in outside_packages(path)
        if not allowed:
            wrong.append(f"{relative(path)}:{line} ({layer}) imports {module}")
    assert not wrong


@each_file
def test_files_and_functions_stay_short(path: Path) -> None:
    """A function of more than 50 lines states its reason as `# long: ...` on its `def` line or the line above."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= FILE_LIMIT
    long = [
        f"{relative(path)}:{function.lineno} {function.name} has {length} lines"
        for function in ast.walk(ast.parse(text))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LIMIT
        and "# long: " not in "".join(lines[function.lineno - 2:function.lineno])
    ]
    assert not long


@each_file
def test_names_say_what_is_inside(path: Path) -> None:
    parts = set(relative(path).removesuffix(".py").split("/"))
    assert not parts & {"utils", "util", "common", "core", "helpers", "misc"}


@each_file
def test_every_file_has_a_docstring_and_postponed_annotations(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    assert ast.get_docstring(module)
    assert len(module.body) == 1 or "from __future__ import annotations\n" in text


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_folders_hold_a_family(folder: Path) -> None:
    """At least three files beside `__init__.py`, and no folder deeper than `memdoctor/virtual/kernels`."""
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) >= 3
    assert len(folder.relative_to(PACKAGE).parts) <= 2


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_importing_one_file_of_a_folder_costs_that_file_alone(folder: Path) -> None:
    """An `__init__.py` imports nothing of its folder, except where it is the list of a family."""
    if relative(folder) not in FAMILIES:
        own = module_of(folder / "__init__.py")
        assert not [module for _, module in imports_of(folder / "__init__.py") if f"{module}.".startswith(f"{own}.")]


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded once it has run the code, however that ended."""
    program = f"""
import sys
try:
    {code}
finally:
    print("LOADED", *sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return set(run.stdout.rpartition("LOADED")[2].split())


def test_importing_memdoctor_loads_nothing_heavy() -> None:
    loaded = modules_after("import memdoctor")
    assert "memdoctor" in loaded
    assert not loaded & {"torch", "numpy", "click", "rich", "jinja2", "psutil", "pynvml", "GPUtil", "memdoctor.scan"}


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "scan --help",
        "run --help",
        "batch-size --help",
        "sweep --help",
        "scan recipes",
        "explain MD101",
        "report no-such-run.mdoc",
        "gpus",
        "gpus --catalogue",
    ],
)
def test_command_does_not_load_torch(arguments: str) -> None:
    """torch takes two seconds to import."""
    loaded = modules_after(f"sys.argv[1:] = {arguments.split()!r}; from memdoctor.cli import main; main()")
    assert "memdoctor.cli" in loaded
    assert "torch" not in loaded
