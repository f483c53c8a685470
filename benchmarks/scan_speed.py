"""How long tools take for one tree of Python files, in one run: memdoctor, `ast.parse` alone, and other linters.

    python benchmarks/scan_speed.py [FOLDER [PART]]

FOLDER is what is scanned: the installed torch if none is named. PART is a folder in it, `nn` if none is named, for
flake8 and torchfix, which would take an hour for the whole; memdoctor is measured on it once more beside them. The
other tools are installed into an environment of their own, which is deleted afterwards.

The floor is `ast.parse` of all files with the garbage collector off. What is quick runs in turn, so that a busy moment
of the machine meets all of it. Figures are the best of the rounds: seconds on the wall of a process, and its processor
seconds with those of its children, which a busy machine changes less.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import _results

ROUNDS = 3
LONGEST_SECONDS = 1800

FLOOR = """
import ast, gc, pathlib, sys, warnings
warnings.simplefilter("ignore")
gc.disable()
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        pass
"""
ONE_PROCESS = [sys.executable, "-c", "import sys, memdoctor; memdoctor.scan(sys.argv[1:])"]
MEMDOCTOR = [sys.executable, "-m", "memdoctor", "scan", "--format", "statistics"]
RUFF = ["ruff", "check", "--isolated", "--no-cache", "--exit-zero"]
_Seconds = dict[str, float]


def main(folder: Path, part: Path) -> None:
    """Measure, write the figures, and print them."""
    with tempfile.TemporaryDirectory() as working:
        tools = _installed(Path(working, "tools"))
        whole, slow = _whole(folder, tools, working), _part(part, tools, working)
    floor, one, torchfix = whole["floor_ast_parse"], whole["memdoctor_one_process"], slow["torchfix_all_rules"]
    figures: dict[str, object] = {
        "rounds": ROUNDS,
        "whole": {"tree": folder.name, "files": _files(folder), **whole},
        "part": {"tree": part.relative_to(folder.parent).as_posix(), "files": _files(part), **slow},
        "one_process_over_floor": _ratio(one, floor, "processor_seconds"),
        "all_cores_over_floor": _ratio(whole["memdoctor_all_cores"], floor, "wall_seconds"),
        "all_cores_over_floor_in_processor_time": _ratio(whole["memdoctor_all_cores"], floor, "processor_seconds"),
        "torchfix_over_one_process": _ratio(torchfix, slow["memdoctor_one_process"], "processor_seconds"),
        "torchfix_over_command": _ratio(torchfix, slow["memdoctor_command"], "wall_seconds"),
    }
    print(_results.write("scan_speed", figures).read_text(encoding="utf-8"))


def _installed(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", "flake8", "ruff", "torchfix"], check=True)
    print(subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout)
    return folder / "bin"


def _whole(folder: Path, tools: Path, working: str) -> dict[str, _Seconds]:
    """What is quick enough for all files. Ruff is the fastest linter there is."""
    path = str(folder)
    return {"memdoctor_fills_the_cache": _measured([*MEMDOCTOR, path], working)} | _best_of_rounds({
        "floor_ast_parse": [sys.executable, "-c", FLOOR, path],
        "memdoctor_one_process": [*ONE_PROCESS, path],
        "memdoctor_all_cores": [*MEMDOCTOR, "--no-cache", path],
        "memdoctor_warm_cache": [*MEMDOCTOR, path],
        "ruff": [str(tools / RUFF[0]), *RUFF[1:], path],
        "ruff_all_rules": [str(tools / RUFF[0]), *RUFF[1:], "--select", "ALL", path],
    }, working)


def _part(folder: Path, tools: Path, working: str) -> dict[str, _Seconds]:
    path = str(folder)
    quick = _best_of_rounds({
        "floor_ast_parse": [sys.executable, "-c", FLOOR, path],
        "memdoctor_one_process": [*ONE_PROCESS, path],
        "memdoctor_command": [*MEMDOCTOR, "--no-cache", path],
    }, working)
    return quick | {
        "flake8": _measured([str(tools / "flake8"), "--isolated", "--exit-zero", path], working),
        "torchfix_all_rules": _measured([str(tools / "torchfix"), "--select", "ALL", path], working),
    }


def _best_of_rounds(commands: dict[str, list[str]], working: str) -> dict[str, _Seconds]:
    rounds = [{name: _measured(command, working) for name, command in commands.items()} for _ in range(ROUNDS)]
    return {name: {kind: min(found[name][kind] for found in rounds) for kind in rounds[0][name]} for name in commands}


def _measured(command: list[str], working: str) -> _Seconds:
    """For what did not end, the seconds after which it was stopped."""
    environment = {
        **os.environ, "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path(working, "byte_code")),
    }
    used, begin = _children_seconds(), time.perf_counter()
    try:
        subprocess.run(
            command, cwd=working, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False, timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"longer_than_seconds": LONGEST_SECONDS}
    wall, processor = time.perf_counter() - begin, _children_seconds() - used
    return {"wall_seconds": round(wall, 2), "processor_seconds": round(processor, 2)}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ratio(one: _Seconds, other: _Seconds, seconds: str) -> float | None:
    """None where one of them did not end."""
    return round(one[seconds] / other[seconds], 2) if seconds in one and seconds in other else None


def _files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.py"))


def _installed_torch() -> Path:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("torch is not installed; name a folder.")
    return Path(spec.origin).parent


if __name__ == "__main__":
    named = [Path(argument).resolve() for argument in sys.argv[1:3]]
    tree = named[0] if named else _installed_torch()
    main(tree, named[1] if named[1:] else tree / "nn")
