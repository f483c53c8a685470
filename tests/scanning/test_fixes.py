"""A fix changes what it says and no other byte, and a second one changes nothing."""

from __future__ import annotations

import ast
import io
import os
import stat
import tokenize
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memdoctor.fix import Fix, fixes
from memdoctor.foundation.findings import Applicability, Confidence, Finding, Skipped
from memdoctor.rules import ALL_RULES
from memdoctor.scanning.edits import edited
from memdoctor.scanning.fixes import diff_of, fix_of, write
from memdoctor.scanning.one_file import scan_bytes
from memdoctor.scanning.questions import Questions
from memdoctor.scanning.reading import Unreadable

FIXTURES = sorted((Path(__file__).parents[1] / "rules" / "fixtures").glob("*.py"))
EVERY = frozenset(Applicability)
LOOP = b"import torch\nfor x, y in loader:\n    loss = criterion(model(x), y)\n    loss.backward()\n"


def _findings(data: bytes) -> tuple[Finding, ...]:
    """Those that are shown if nothing else is said."""
    report = scan_bytes("train.py", data, ALL_RULES)
    assert report.skipped == ()
    return tuple(finding for finding in report.findings if finding.confidence is not Confidence.LOW)


def _fixed(data: bytes, allowed: frozenset[Applicability] = EVERY) -> bytes:
    fix = fix_of("train.py", data, ALL_RULES, Confidence.MEDIUM, allowed)
    return data if fix is None else fix.after


@pytest.mark.parametrize("allowed", [frozenset({Applicability.SAFE}), EVERY], ids=["safe", "all"])
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_what_can_be_fixed_is_gone_and_nothing_is_new(path: Path, allowed: frozenset[Applicability]) -> None:
    data = path.read_bytes()
    before, after = _findings(data), _fixed(data, allowed)
    left = _findings(after)
    assert Counter(finding.code for finding in left) <= Counter(finding.code for finding in before)
    assert not any(_is_fixable(finding, allowed) for finding in left)
    assert any(_is_fixable(finding, allowed) for finding in before) == (after != data)
    assert _fixed(after, allowed) == after


@given(
    path=st.sampled_from(FIXTURES),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    indentation=st.sampled_from([b"    ", b"\t", b"  "]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    between=st.sampled_from([b"", b"\f\n", b"# why\n", b"NAMES = 'a', \"b\", r'c'\n"]),
)
@settings(max_examples=40, deadline=None)
def test_however_a_file_is_written_it_stays_so(
    path: Path, line_end: bytes, indentation: bytes, mark: bytes, between: bytes,
) -> None:
    text = path.read_bytes().replace(b"    ", indentation).replace(b"\n\n\ndef ", b"\n\n\n" + between + b"def ")
    data = mark + text.replace(b"\n", line_end)
    after = _fixed(data)
    ast.parse(after.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    assert _fixed(after) == after
    assert after.startswith(mark)
    assert _comments(after) == _comments(data)
    assert not between or after.count(between.rstrip(b"\n")) == data.count(between.rstrip(b"\n"))
    assert Counter(after.replace(line_end, b"")).keys().isdisjoint(b"\r\n")


def _comments(data: bytes) -> Counter[str]:
    """The comments; those that ignore nothing may go."""
    text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return Counter(comment for comment in comments if "memdoctor: ignore" not in comment)


def _is_fixable(finding: Finding, allowed: frozenset[Applicability]) -> bool:
    return finding.advice is not None and bool(finding.advice.edits) and finding.advice.applicability in allowed


class TestEachFix:
    @pytest.mark.parametrize(
        ("line", "fixed"),
        [
            pytest.param("total += loss", "total += loss.detach()", id="a sum"),
            pytest.param("total += loss  # why", "total += loss.detach()  # why", id="a comment stays"),
            pytest.param("total = total + loss", "total = total + loss.detach()", id="a sum written out"),
            pytest.param("total += criterion(model(x), y)", "total += criterion(model(x), y).detach()", id="a call"),
            pytest.param("kept.append(loss)", "kept.append(loss.detach())", id="a list"),
            pytest.param("x = 'é'; total += loss", "x = 'é'; total += loss.detach()", id="behind a wide character"),
            pytest.param("total += (\n    loss\n    )", "total += (\n    loss.detach()\n    )", id="in parentheses"),
        ],
    )
    def test_a_kept_loss(self, line: str, fixed: str) -> None:
        assert _fixed(LOOP + f"    {line}\n".encode()) == LOOP + f"    {fixed}\n".encode()

    def test_a_kept_loss_that_may_be_a_dictionary_is_not_safe(self) -> None:
        data = b"import torch\nfor x, y in batches:\n    losses = criterion(model(x), y)\n    kept.append(losses)\n"
        assert len(_findings(data)) == 1
        assert _fixed(data, frozenset({Applicability.SAFE})) == data

    @pytest.mark.parametrize(
        ("arguments", "fixed"),
        [
            pytest.param("path", 'path, map_location="cpu"', id="one argument"),
            pytest.param("(path)", '(path), map_location="cpu"', id="in parentheses"),
            pytest.param("path, weights_only=True", 'path, weights_only=True, map_location="cpu"', id="a keyword"),
            pytest.param("path,", 'path, map_location="cpu"', id="a trailing comma"),
            pytest.param("\n    path,  # (x)\n", '\n    path, map_location="cpu"  # (x)\n', id="a comment"),
            pytest.param("\n    path\n    # (x)\n", '\n    path, map_location="cpu"\n    # (x)\n', id="lines"),
            pytest.param("f'é{path}'", "f'é{path}', map_location=\"cpu\"", id="an f-string"),
        ],
    )
    def test_a_load(self, arguments: str, fixed: str) -> None:
        line = "import torch\nmodel.load_state_dict(torch.load({}))\n"
        assert _fixed(line.format(arguments).encode()).decode() == line.format(fixed)

    @pytest.mark.parametrize(
        ("lines", "fixed"),
        [
            pytest.param("    torch.cuda.empty_cache()\n", "", id="a line of its own"),
            pytest.param("    torch.cuda.empty_cache()", "", id="the last line, without its end"),
            pytest.param("    torch.cuda.empty_cache()  # why\n", "    # why\n", id="a comment stays"),
            pytest.param("    x = 1; torch.cuda.empty_cache()\n", "    x = 1; pass\n", id="behind another"),
            pytest.param("    torch.cuda.empty_cache(); x = 1\n", "    x = 1\n", id="before another"),
            pytest.param("    torch.cuda.empty_cache(); # why\n", "    # why\n", id="a semicolon"),
            pytest.param("    with a:\n        torch.cuda.empty_cache()\n", "    with a:\n        pass\n", id="alone"),
            pytest.param("    with lock: torch.cuda.empty_cache()\n", "    with lock: pass\n", id="alone in a line"),
            pytest.param("    torch.cuda.empty_cache(\n    )\n    x = 1\n", "    x = 1\n", id="two lines"),
        ],
    )
    def test_an_emptied_cache(self, lines: str, fixed: str) -> None:
        assert _fixed(LOOP + lines.encode()) == LOOP + fixed.encode()

    @pytest.mark.parametrize("above", ["", "    @staticmethod\n", "    # why\n"])
    def test_an_evaluation_is_decorated_directly_above_its_def(self, above: str) -> None:
        body = "    def validate(model, x):\n        model.eval()\n        show(model(x))\n"
        data = f"import torch\nclass Runner:\n{above}{body}".encode()
        expected = f"import torch\nclass Runner:\n{above}    @torch.no_grad()\n{body}".encode()
        assert _fixed(data) == expected
        assert _fixed(data, frozenset({Applicability.SAFE})) == data

    @pytest.mark.parametrize("imports", ["from torch import nn", "import torch as th", "import torch.nn as nn"])
    def test_an_evaluation_is_left_alone_where_torch_has_another_name(self, imports: str) -> None:
        data = f"{imports}\ndef validate(model, x):\n    model.eval()\n    show(model(x))\n"
        assert len(_findings(data.encode())) == 1
        assert _fixed(data.encode()) == data.encode()

    @pytest.mark.parametrize(
        ("line", "fixed"),
        [
            ("x = 1  # memdoctor: ignore[MD101]\n", "x = 1\n"),
            ("# memdoctor: ignore[MD101]\nx = 1\n", "x = 1\n"),
            ("x = 1  # noqa  # memdoctor: ignore\n", "x = 1  # noqa\n"),
            ("x = 1  # memdoctor: ignore[MD101] why\n", "x = 1  # memdoctor: ignore[MD101] why\n"),
        ],
    )
    def test_a_comment_that_ignores_nothing(self, line: str, fixed: str) -> None:
        assert _fixed(b"import torch\n" + line.encode()) == b"import torch\n" + fixed.encode()

    def test_the_encoding_stays(self) -> None:
        data = b"# coding: latin-1\n# \xe9\n" + LOOP + b"    total += loss\n"
        assert _fixed(data) == data[:-1] + b".detach()\n"

    def test_a_finding_that_is_ignored_is_not_fixed(self) -> None:
        data = LOOP + b"    total += loss  # memdoctor: ignore[MD101]\n"
        assert _fixed(data) == data


class TestWriting:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "train.py"
        path.write_bytes(LOOP + b"    total += loss\n")
        return path

    def _fix(self, path: Path) -> Fix:
        fix = fix_of(str(path), path.read_bytes(), ALL_RULES, Confidence.MEDIUM, EVERY)
        assert fix is not None
        return fix

    def test_keeps_the_mode_bits_and_leaves_nothing_behind(self, path: Path) -> None:
        path.chmod(0o751)
        write(self._fix(path))
        assert path.read_bytes().endswith(b"loss.detach()\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o751
        assert os.listdir(path.parent) == ["train.py"]

    def test_through_a_link_the_file_is_fixed(self, path: Path) -> None:
        link = path.with_name("link.py")
        link.symlink_to(path)
        write(self._fix(link))
        assert link.is_symlink()
        assert path.read_bytes().endswith(b"loss.detach()\n")

    def test_a_file_that_changed_meanwhile_is_left_alone(self, path: Path) -> None:
        fix = self._fix(path)
        path.write_bytes(b"x = 1\n")
        with pytest.raises(Unreadable, match="changed while it was scanned"):
            write(fix)
        assert path.read_bytes() == b"x = 1\n"

    def test_a_dry_run_writes_nothing(self, path: Path) -> None:
        before = path.read_bytes()
        (fix,) = fixes([path], Questions(), unsafe=False, dry_run=True)
        assert isinstance(fix, Fix)
        assert path.read_bytes() == before
        assert diff_of(fix).splitlines()[-2:] == ["-    total += loss", "+    total += loss.detach()"]

    def test_only_what_is_asked_for_is_fixed(self, path: Path) -> None:
        assert list(fixes([path], Questions(ignore=("MD101",)), unsafe=True, dry_run=False)) == []
        (fix,) = fixes([path], Questions(), unsafe=False, dry_run=False)
        assert isinstance(fix, Fix)
        assert fix.findings == 1

    def test_what_cannot_be_written_is_said(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(source: object, target: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("memdoctor.scanning.fixes.os.replace", full)
        (skipped,) = fixes([path], Questions(), unsafe=False, dry_run=False)
        assert skipped == Skipped(str(path), "not fixed: No space left on device")
        assert os.listdir(path.parent) == ["train.py"]


def test_an_encoding_that_cannot_be_written_back_is_left_alone() -> None:
    data = "# coding: iso-2022-jp\n".encode() + b"# \x1b$B\x1b(B\n" + LOOP + b"    total += loss\n"
    with pytest.raises(Unreadable, match="cannot be written back"):
        edited(data, [])
