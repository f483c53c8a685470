"""Each recipe runs as it is, without a warning, and shows what it promises; memdoctor says of it what is in README."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import memdoctor
from memdoctor.foundation.findings import Finding
from memdoctor.foundation.runs import FINISHED, OUT_OF_MEMORY, RunReport
from tests.golden.readmes import READMES, blocks_of, comparable, shown_of

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "recipes"
BLOCKS = blocks_of(READMES[1])

LESSONS = [
    pytest.param("leaky_loss.py", "keeps the activations of every iteration", id="a summed loss keeps its graph"),
    pytest.param("leaky_loss.py --fixed", "A number has no graph", id="a summed number keeps nothing"),
    pytest.param("classic_total_loss.py", "348 iterations.*8018 graph nodes", id="23 nodes a step stay"),
    pytest.param("eval_without_no_grad.py", r"costs [1-9]\d* MiB more", id="eval() alone saves activations"),
    pytest.param("empty_cache_versus_del.py", "only returns what was free", id="empty_cache frees no tensor"),
    pytest.param("keep_outputs.py", r"append\(output\): .* hold [1-9]\d* MiB", id="kept outputs keep their graphs"),
    pytest.param("half_precision.py", "bfloat16 weights .* 16.2 .* 31.8 MiB", id="half weights halve everything"),
    pytest.param("out_of_memory.py", r"256:  218\.0 MiB", id="activations grow with the batch"),
    pytest.param("out_of_memory.py --checkpoint", r"256:  146\.0 MiB", id="recomputed layers save less"),
    pytest.param("make_step.py", "16 and 32 misses 128 by 0.0%", id="memory is a line in the batch size"),
]


def output_of(*command: str) -> str:
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode in (0, 1), run.stderr
    return run.stdout


@functools.cache
def plain(recipe: str) -> str:
    name, *options = recipe.split()
    return output_of("-W", "error", f"recipes/{name}", *options)


@functools.cache
def watched(recipe: str, card: str = "a100-40gb") -> tuple[str, RunReport]:
    """What `memdoctor run` prints on a virtual card, and what it records."""
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/run.mdoc"
        options = ["--virtual", card, "--output", recording]
        printed = output_of("-m", "memdoctor", "run", *options, *f"recipes/{recipe}".split())
        return printed, memdoctor.read_run(recording)


def the_finding(recipe: str) -> Finding:
    (finding,) = watched(recipe)[1].findings
    assert finding.location is not None and finding.retainer is not None
    return finding


def line_of(recipe: str, statement: str) -> int:
    lines = (RECIPES / recipe).read_text(encoding="utf-8").splitlines()
    (line,) = [number for number, text in enumerate(lines, 1) if text.strip() == statement]
    return line


@pytest.mark.parametrize(("recipe", "lesson"), LESSONS)
def test_recipe_prints_its_lesson(recipe: str, lesson: str) -> None:
    assert re.search(lesson, plain(recipe))


def test_every_recipe_is_tested() -> None:
    """A script added to the folder needs its lesson here."""
    assert {path.name for path in RECIPES.glob("*.py")} == {lesson.values[0].split()[0] for lesson in LESSONS}


def test_the_leak_grows_and_the_fix_is_flat() -> None:
    """124 MiB an epoch without the fix; with it less than the noise of a process."""
    assert grown_mib("leaky_loss.py") > 200
    assert abs(grown_mib("leaky_loss.py --fixed")) < 50


def grown_mib(recipe: str) -> int:
    """From the end of the first epoch to the end of the last."""
    held = [int(mib) for mib in re.findall(r"(\d+) MiB held", plain(recipe))]
    return held[-1] - held[0]


class TestUnderMemdoctor:
    def test_the_leaky_loss_is_named_with_its_line_and_bytes(self) -> None:
        """Kept for each of 256 images, in floats: ReLU 16 x 8 x 8 and 32 x 8 x 8, pooled 32 x 4 x 4 and its indices
        of 8 bytes, 10 log-probabilities; and one block of 512 bytes for the sum of the class weights.
        """
        finding = the_finding("leaky_loss.py")
        assert watched("leaky_loss.py")[1].growth.verdict == "leak"
        assert finding.location and finding.retainer
        assert (finding.code, finding.variable) == ("MD101", "validation_loss")
        assert finding.location.line == line_of("leaky_loss.py", "validation_loss += criterion(model(images), labels)")
        floats = 16 * 64 + 32 * 64 + 32 * 16 + 10
        assert finding.retainer.bytes_per_step == 256 * (4 * floats + 8 * 32 * 16) + 512
        assert finding.retainer.keeps_graph

    def test_the_fixed_one_has_no_leak(self) -> None:
        report = watched("leaky_loss.py --fixed")[1]
        assert (report.growth.verdict, report.findings) == ("none", ())

    def test_the_classic_keeps_nodes_in_host_memory_and_no_device_bytes(self) -> None:
        """7 products, 7 transposed weights, 6 ReLU, log-softmax, loss and sum are 23 nodes a step."""
        finding = the_finding("classic_total_loss.py")
        assert watched("classic_total_loss.py")[1].growth.verdict == "host-leak"
        assert finding.location and finding.retainer
        assert finding.variable == "total_loss"
        assert finding.location.line == line_of("classic_total_loss.py", "total_loss += loss")
        assert (finding.retainer.bytes_per_step, finding.retainer.graph_nodes_per_step) == (0, 23)
        assert finding.retainer.host_bytes_per_step > 0

    def test_kept_outputs_are_named(self) -> None:
        """Kept for each of 128 images: two ReLU of 32 x 8 x 8 floats, and the 4 floats of the output."""
        finding = the_finding("keep_outputs.py")
        assert finding.location and finding.retainer
        assert (finding.code, finding.variable) == ("MD102", "features")
        assert finding.location.line == line_of("keep_outputs.py", "features.append(output)")
        assert finding.retainer.bytes_per_step == 128 * 4 * (2 * 32 * 64 + 4)

    def test_del_and_empty_cache_read_as_on_a_card(self) -> None:
        printed = watched("empty_cache_versus_del.py")[0]
        assert re.findall(r"tensors +(\d+) MiB, with the cache +(\d+) MiB", printed) == [
            ("0", "0"), ("128", "128"), ("128", "128"), ("128", "128"),
            ("64", "128"), ("128", "128"), ("0", "128"), ("0", "0"),
        ]

    def test_the_crash_names_the_layers_that_fill_the_card_and_recomputing_them_fits(self) -> None:
        """For each of 1024 images, in floats of 24 channels of 32 x 32: the ReLUs of eight layers."""
        crashed = watched("out_of_memory.py", "1GiB")[1]
        assert crashed.end.outcome == OUT_OF_MEMORY and crashed.cause is not None
        assert crashed.cause.kind == "too big at one moment"
        halving, recomputing = crashed.cause.advice
        assert halving.startswith("Halve the batch") and halving.endswith("up to 482.0 MiB less.")
        assert recomputing.startswith("Recompute the parts of Network.layers in backward")
        assert recomputing.endswith("up to 320.0 MiB less.")
        assert crashed.crash is not None and crashed.crash.breakdown is not None
        activations = {each.path: each.activation_bytes for each in crashed.crash.breakdown.modules}
        assert activations["Network.layers"] == 8 * 1024 * 4 * 24 * 32 * 32
        assert watched("out_of_memory.py --checkpoint", "1GiB")[1].end.outcome == FINISHED

    @pytest.mark.parametrize(("command", "shown"), [pytest.param(*block, id=block[0]) for block in BLOCKS])
    def test_the_readme_shows_real_output(self, command: str, shown: str) -> None:
        """If the change is wanted: `python -m tests.golden.readmes`."""
        if command.startswith("memdoctor run --virtual a100-40gb recipes/"):
            printed = watched(command.partition("recipes/")[2])[0]
        else:
            printed = output_of("-m", *command.split())
        assert comparable(shown_of(printed)) == comparable(shown)


def test_the_readme_shows_something() -> None:
    assert len(BLOCKS) >= 8
