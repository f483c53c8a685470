"""How long tools take for one tree of Python files, in one run: memdoctor, `ast.parse` alone, and other linters.

    python benchmarks/scan_speed.py [FOLDER [TOOLS]]

FOLDER is what is scanned: the installed torch if none is named. TOOLS is an environment with flake8, ruff and torchfix;
those that it lacks are left out and said so. The floor is `ast.parse` of all files, read beforehand, with the garbage
collector off. Every figure is the best of the rounds in wall seconds as a process, and for one process in processor
seconds too, which a busy machine does not change.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _results

ROUNDS = 2
SLOW_ROUNDS = 1
"""flake8 and torchfix take minutes."""
LONGEST_SECONDS = 1800

FLOOR = """
import ast, gc, pathlib, sys, warnings
warnings.simplefilter("ignore")
gc.disable()
for number, path in enumerate(sorted(pathlib.Path(sys.argv[1]).rglob("*.py"))):
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        pass
    if number % 25 == 0:
        gc.collect()
"""
ONE_PROCESS = "import sys, memdoctor; memdoctor.scan(sys.argv[1:])"


def main(folder: Path, tools: Path) -> None:
    """Measure, write the figures, and print them."""
    memdoctor = [sys.executable, "-m", "memdoctor", "scan", "--format", "statistics"]
    files = len(list(folder.rglob("*.py")))
    figures: dict[str, object] = {"tree": "/".join(folder.parts[-2:]), "files": files, "rounds": ROUNDS}
    with tempfile.TemporaryDirectory() as working:
        figures["floor_ast_parse"] = floor = _measured([sys.executable, "-c", FLOOR, str(folder)], working)
        figures["memdoctor_one_process"] = one = _measured([sys.executable, "-c", ONE_PROCESS, str(folder)], working)
        figures["memdoctor_cold"] = cold = _measured([*memdoctor, "--no-cache", str(folder)], working)
        subprocess.run([*memdoctor, str(folder)], cwd=working, stdout=subprocess.DEVNULL, check=False)
        figures["memdoctor_warm_cache"] = _measured([*memdoctor, str(folder)], working)
        figures |= _others(folder, tools, working)
    figures["one_process_over_floor"] = round(one["processor_seconds"] / floor["processor_seconds"], 2)
    figures["cold_over_floor"] = round(cold["wall_seconds"] / floor["wall_seconds"], 2)
    print(_results.write("scan_speed", figures).read_text(encoding="utf-8"))


def _others(folder: Path, tools: Path, working: str) -> dict[str, object]:
    """Each with its defaults; ruff once more with all rules, as the fastest linter there is."""
    commands = {
        "ruff": ["ruff", "check", "--isolated", "--no-cache", "--exit-zero"],
        "ruff_all_rules": ["ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--select", "ALL"],
        "flake8": ["flake8", "--isolated", "--exit-zero"],
        "torchfix": ["torchfix", "--select", "ALL"],
    }
    found: dict[str, object] = {}
    for name, (tool, *options) in commands.items():
        path = tools / tool
        rounds = ROUNDS if tool == "ruff" else SLOW_ROUNDS
        command = [str(path), *options, str(folder)]
        found[name] = _measured(command, working, rounds) if path.exists() else "not installed"
    return found


def _measured(command: list[str], working: str, rounds: int = ROUNDS) -> dict[str, float]:
    wall, processor = [], []
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for _ in range(rounds):
        used, begin = _children_seconds(), time.perf_counter()
        try:
            subprocess.run(
                command, cwd=working, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                check=False, timeout=LONGEST_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"longer_than_seconds": LONGEST_SECONDS}
        wall.append(time.perf_counter() - begin)
        processor.append(_children_seconds() - used)
    return {"wall_seconds": round(min(wall), 2), "processor_seconds": round(min(processor), 2)}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _installed_torch() -> Path:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        sys.exit("torch is not installed; name a folder.")
    return Path(spec.origin).parent


if __name__ == "__main__":
    named = [Path(argument).resolve() for argument in sys.argv[1:3]]
    main(named[0] if named else _installed_torch(), named[1] if named[1:] else Path(sys.executable).parent)
