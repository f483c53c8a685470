"""The edits that rules advise, at the positions of tokens: everything around them stays as it was written."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from memdoctor.foundation.findings import Edit
from memdoctor.rules._ignores import Ignore
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source


def after(source: Source, node: ast.expr, text: str) -> Edit:
    """Text right behind an expression that needs no parentheses there."""
    line, offset = _end(node)
    return _insertion(line, source.column(line, offset), text)


def takes_suffix(node: ast.expr) -> bool:
    """It needs no parentheses before `.detach()`."""
    return isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call))


def instead(source: Source, node: ast.expr | ast.stmt, text: str) -> Edit:
    """Text in the place of an expression or statement."""
    place = source.location(node)
    line, offset = _end(node)
    return Edit(place.line, place.column, line, source.column(line, offset), text)


def without_keyword(source: Source, call: ast.Call, name: str) -> tuple[Edit, ...]:
    """Without one keyword argument, and without a comma that nothing needs any more; comments stay."""
    found = next((keyword for keyword in call.keywords if keyword.arg == name), None)
    if found is None:
        return ()
    end_line, end = found.end_lineno or found.lineno, source.column(found.value.end_lineno or 0, _end(found.value)[1])
    start = source.column(found.lineno, found.col_offset)
    before, behind = source.lines[found.lineno - 1][:start - 1], source.lines[end_line - 1][end - 1:]
    comma_behind = re.match(r"\s*,[ \t]*", behind)
    comma_before = re.search(r"[ \t]*,[ \t]*$", before)
    if comma_behind:
        end += comma_behind.end()
    elif comma_before:
        start = comma_before.start() + 1
    return (Edit(found.lineno, start, end_line, end, ""),)


def with_argument(source: Source, call: ast.Call, text: str) -> Edit:
    """One more argument at the end of a call, before a comment or a trailing comma's line end."""
    line, offset = _end(call)
    first = source.column(call.lineno, call.col_offset) - 1
    lines = [*source.lines[call.lineno - 1:line - 1], source.lines[line - 1][:source.column(line, offset) - 1]]
    lines[0] = lines[0][first:]
    last = _token_before_the_end("\n".join(lines))
    column = last.end[1] + 1 + (first if last.end[0] == 1 else 0)
    separator = {"(": "", ",": " "}.get(last.string, ", ")
    return _insertion(call.lineno + last.end[0] - 1, column, separator + text)


def _token_before_the_end(call: str) -> tokenize.TokenInfo:
    """The last token of a call before its closing parenthesis that is not a comment or a line end."""
    layout = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(call).readline) if token.type not in layout]
    return tokens[-2]


def without_gradients(source: Source, scope: Scope) -> tuple[Edit, ...]:
    """`@torch.no_grad()` directly above `def`: below others, so that `@staticmethod` and `@property` stay outermost.

    None where `torch` is not imported by that name at the top of the file, and none on a coroutine function: a
    decorator sees its call, not its run.
    """
    if not isinstance(scope.node, ast.FunctionDef) or not _knows_torch(source):
        return ()
    line = scope.node.lineno
    indentation = source.lines[line - 1][:source.column(line, scope.node.col_offset) - 1]
    return (_insertion(line, 1, f"{indentation}@torch.no_grad()\n"),)


def _knows_torch(source: Source) -> bool:
    imported = [alias for node in source.tree.body if isinstance(node, ast.Import) for alias in node.names]
    return any(alias.asname is None and alias.name.split(".")[0] == "torch" for alias in imported)


def deletion(source: Source, statement: ast.AST) -> tuple[Edit, ...]:
    """Without a statement: its whole lines where nothing else is on them, `pass` where the block would be empty.

    A comment behind it stays. None for what is not a statement of its own.
    """
    if not isinstance(statement, (ast.Expr, ast.Assign)):
        return ()
    place = source.location(statement)
    start, (end_line, end_offset) = (place.line, place.column), _end(statement)
    end = end_line, source.column(end_line, end_offset)
    before = source.lines[start[0] - 1][:start[1] - 1].strip()
    behind = source.lines[end_line - 1][end[1] - 1:].strip()
    if before or behind.rstrip(";") or len(_block(source, statement)) == 1:
        return (_instead_of(source, statement, start, end),)
    return (Edit(start[0], 1, end_line + 1, 1, ""),)


def _instead_of(source: Source, statement: ast.stmt, start: tuple[int, int], end: tuple[int, int]) -> Edit:
    """Up to the next statement or comment of the same line; `pass` where that is all there is."""
    line = source.lines[end[0] - 1]
    behind = line[end[1] - 1:].lstrip(" \t;")
    if len(_block(source, statement)) == 1 or not behind or behind.startswith("\\"):
        return Edit(*start, *end, "pass")
    return Edit(*start, end[0], len(line) - len(behind) + 1, "")


def without_comment(source: Source, ignore: Ignore) -> Edit:
    """Without a comment that ends its line, and without the line if there is nothing else on it."""
    line = source.lines[ignore.line - 1]
    code = line[:ignore.column - 1].rstrip()
    if code:
        return Edit(ignore.line, len(code) + 1, ignore.line, len(line) + 1, "")
    return Edit(ignore.line, 1, ignore.line + 1, 1, "")


def _block(source: Source, statement: ast.stmt) -> list[ast.stmt]:
    blocks = (value for _, value in ast.iter_fields(source.parents[statement]) if isinstance(value, list))
    return next(block for block in blocks if statement in block)


def _insertion(line: int, column: int, text: str) -> Edit:
    return Edit(line, column, line, column, text)


def _end(node: ast.expr | ast.stmt) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
