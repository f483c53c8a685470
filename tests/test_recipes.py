"""Each recipe runs as it is, without a warning, and shows what it promises."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parent.parent / "recipes"

LESSONS = [
    pytest.param(["leaky_loss.py"], "keeps the activations of every iteration", id="a summed loss keeps its graph"),
    pytest.param(["leaky_loss.py", "--fixed"], "A number has no graph", id="a summed number keeps nothing"),
    pytest.param(["classic_total_loss.py"], "348 iterations.*8018 graph nodes", id="23 nodes a step stay"),
    pytest.param(["eval_without_no_grad.py"], r"costs [1-9]\d* MiB more", id="eval() alone saves activations"),
    pytest.param(["empty_cache_versus_del.py"], "only returns what was free", id="empty_cache frees no tensor"),
    pytest.param(["keep_outputs.py"], r"append\(output\): .* hold [1-9]\d* MiB", id="kept outputs keep their graphs"),
    pytest.param(["half_precision.py"], "bfloat16 weights .* 16.2 .* 31.8 MiB", id="half weights halve everything"),
    pytest.param(["make_step.py"], "through 16 and 32 misses 128 by 0.0%", id="memory grows along a line"),
]


@functools.cache
def output_of(name: str, *options: str) -> str:
    command = [sys.executable, "-W", "error", str(RECIPES / name), *options]
    run = subprocess.run(command, cwd=RECIPES.parent, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(("arguments", "lesson"), LESSONS)
def test_recipe_prints_its_lesson(arguments: list[str], lesson: str) -> None:
    name, *options = arguments
    assert re.search(lesson, output_of(name, *options))


def test_the_leak_grows_and_the_fix_is_flat() -> None:
    """124 MiB an epoch without the fix; with it less than the noise of a process."""
    assert grown_mib("leaky_loss.py") > 200
    assert abs(grown_mib("leaky_loss.py", "--fixed")) < 50


def grown_mib(name: str, *options: str) -> int:
    """From the end of the first epoch to the end of the last."""
    held = [int(mib) for mib in re.findall(r"(\d+) MiB held", output_of(name, *options))]
    return held[-1] - held[0]


def test_every_recipe_is_tested() -> None:
    """A script added to the folder needs its lesson here."""
    assert {path.name for path in RECIPES.glob("*.py")} == {lesson.values[0][0] for lesson in LESSONS}
