"""The statement that puts something into a holder, found in the source.

Every statement that puts to the name is scored by how surely it makes a container grow; the best one is taken, the
earliest among equals. The name is followed through aliases and arguments, three steps far. Without source there is
no line, never a wrong one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from memdoctor.analysis.chains import ANY_KEY, Accessor, Chain, Scope
from memdoctor.analysis.limits import Emptying, Limit
from memdoctor.analysis.names import anchor
from memdoctor.analysis.puts import EMPTY, ITEM, Put, SourceFile, read_source
from memdoctor.foundation.locations import Location
from memdoctor.foundation.looks import Piece

Source = Callable[[str], "str | None"]
"""The text of a file, or None where it cannot be read."""


def no_source(path: str) -> None:
    """The answer where no source can be read."""


_STEPS = 3
_KEY_BONUS = 3


@dataclass(frozen=True)
class _Place:
    """What to look for: a variable of a function or module, or an attribute of instances of a class."""

    name: str
    owner: str
    """The function's qualified name, empty for a global; of an attribute the class, empty for any."""
    file: str | None
    is_attribute: bool

    def rest(self, chain: Chain, scope: Scope, file: str) -> Chain | None:
        """The accessors behind the place; None if the chain does not lead through it."""
        if not chain:
            return None
        if self.is_attribute:
            position = next((at for at, accessor in enumerate(chain) if self._is_attribute(*accessor)), None)
            in_class = not self.owner or scope.class_name == self.owner
            return chain[position + 1:] if position is not None and in_class else None
        matches = chain[0] == ("name", self.name) and file == self.file and scope.owner_of(self.name) == self.owner
        return chain[1:] if matches else None

    def _is_attribute(self, kind: str, text: str) -> bool:
        """Numbered ones go by what their names have in common, `output_*`."""
        return kind == "attr" and (text == self.name or ("*" in self.name and fnmatchcase(self.name, text)))


@dataclass(frozen=True)
class _Candidate:
    put: Put
    file: SourceFile
    score: int
    detour: int
    """Steps away from the holder's own name."""
    depth: int = 0
    """Accessors behind the name: `epochs[-1].append(x)` is nearer to the tensor than `epochs.append([])`."""

    @property
    def rank(self) -> tuple[int, int, int, str, int]:
        return (-self.score, self.detour, -self.depth, self.file.path, self.put.line)


def put_line(
    pieces: Sequence[Piece], keys: frozenset[str], files: Sequence[str], source: Source
) -> Location | None:
    """Where the holder at `pieces` gets its elements.

    `keys` are the constant keys (`repr`) at the end of the paths below it; `files` the user's source files.
    """
    loaded = _loaded(pieces, files, source)
    special = _special(pieces, loaded)
    if special is not None:
        return special
    best = _best(pieces, keys, loaded)
    return _location(best.file, best.put.statement) if best is not None else None


def as_put(
    pieces: Sequence[Piece], keys: frozenset[str], files: Sequence[str], source: Source
) -> tuple[Piece, ...]:
    """The pieces with `*` for each number that the statement takes from a variable: `gallery[label].append(image)`.

    A string says more than the variable that it came in: `observed['loss']`.
    """
    best = _best(pieces, keys, _loaded(pieces, files, source))
    start = anchor(pieces) + 1
    if best is None or best.depth != len(pieces) - start:
        return tuple(pieces)
    accessors = best.put.target[len(best.put.target) - best.depth:]
    both = zip(pieces[start:], accessors)
    named = (replace(piece, text="*") if each == ANY_KEY and _is_number(piece) else piece for piece, each in both)
    return (*pieces[:start], *named)


def _is_number(piece: Piece) -> bool:
    return piece.kind in ("key", "index") and piece.text[:1] not in "'\""


def limit_of(pieces: Sequence[Piece], files: Sequence[str], source: Source) -> Limit | None:
    """The statement that keeps the holder short, under its own name."""
    return next(_about(pieces, files, source, lambda file: file.limits), None)


def is_emptied(pieces: Sequence[Piece], files: Sequence[str], source: Source) -> bool:
    """True if a statement empties the holder, under its own name; it need not have run yet."""
    return next(_about(pieces, files, source, lambda file: file.emptyings), None) is not None


_About = TypeVar("_About", Limit, Emptying)


def _about(
    pieces: Sequence[Piece], files: Sequence[str], source: Source, of: Callable[[SourceFile], Sequence[_About]]
) -> Iterator[_About]:
    loaded = _loaded(pieces, files, source)
    place, behind = _place(pieces, loaded), len(pieces) - anchor(pieces) - 1
    if place is None:
        return
    for file in loaded:
        for each in of(file):
            rest = place.rest(each.target, each.scope, file.path)
            if rest is not None and len(rest) == behind:
                yield each


def starts_anew(pieces: Sequence[Piece], files: Sequence[str], source: Source) -> bool:
    """True if every statement that assigns the place takes nothing from what it held before."""
    best = _best(pieces, frozenset(), _loaded(pieces, files, source))
    return best is not None and best.score < ITEM


def _loaded(pieces: Sequence[Piece], files: Sequence[str], source: Source) -> list[SourceFile]:
    named = [piece.file for piece in pieces if piece.file is not None]
    texts = ((path, source(path)) for path in dict.fromkeys([*named, *files]))
    return [read_source(path, text) for path, text in texts if text is not None]


def _best(pieces: Sequence[Piece], keys: frozenset[str], loaded: Sequence[SourceFile]) -> _Candidate | None:
    search = _Search(loaded, _accessors(pieces, keys), keys)
    place = _place(pieces, loaded)
    candidates = list(search.candidates(place)) if place is not None else []
    if pieces[-1].kind == "attr" and all(each.score <= EMPTY for each in candidates):
        candidates += search.candidates(_Place(pieces[-1].text, "", None, is_attribute=True))
    return min(candidates, key=lambda each: each.rank, default=None)


def _location(file: SourceFile, node: ast.stmt) -> Location:
    return Location(file.path, node.lineno, node.col_offset + 1, node.end_lineno)


def _special(pieces: Sequence[Piece], files: Sequence[SourceFile]) -> Location | None:
    """The `def` of a cached function; the call that registers; the call that says `create_graph=True`."""
    piece = pieces[anchor(pieces)]
    if piece.kind == "cached":
        functions = (_definition(file, scope) for file, scope in _scopes(files) if _is_function(piece, file, scope))
        return next(functions, None)
    if piece.kind == "registry":
        return next((_location(file, each) for file in files for each in _calling(file, piece.text)), None)
    if pieces[-1].kind == "grad" or piece.text == "p.grad":
        return next((_location(file, node) for file in files for node in _creating_graphs(file)), None)
    return None


def _definition(file: SourceFile, scope: Scope) -> Location:
    return Location(file.path, getattr(scope.node, "lineno", 1))


def _scopes(files: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, Scope]]:
    return ((file, scope) for file in files for scope in file.scopes)


def _is_function(piece: Piece, file: SourceFile, scope: Scope) -> bool:
    return file.path == piece.file and scope.first_line == piece.line


def _creating_graphs(file: SourceFile) -> Iterator[ast.stmt]:
    """`autograd.grad` returns its gradients, and leaves none in a parameter."""
    for call in file.calls:
        if call.creates_graph and call.function.endswith("backward"):
            yield call.statement


def _calling(file: SourceFile, function: str) -> Iterator[ast.stmt]:
    for call in file.calls:
        if call.function == function.rsplit(".", 1)[-1]:
            yield call.statement


def _place(pieces: Sequence[Piece], files: Sequence[SourceFile]) -> _Place | None:
    piece = pieces[anchor(pieces)]
    if piece.kind in ("attr", "module"):
        return _Place(piece.text, piece.scope.rsplit(".", 1)[-1], piece.file, is_attribute=True)
    if piece.kind == "cycle":
        return _Place(piece.text.rsplit(".", 1)[-1], "", None, is_attribute=True)
    if piece.kind in ("global", "contextvar"):
        return _Place(piece.text, "", piece.file, is_attribute=False)
    function = next((scope for file, scope in _scopes(files) if _is_function(piece, file, scope)), None)
    if function is None:
        return None
    return _Place(piece.text, function.owner_of(piece.text), piece.file, is_attribute=False)


def _accessors(pieces: Sequence[Piece], keys: frozenset[str]) -> set[Accessor]:
    """What may stand behind the name: another constant key would be another holder."""
    allowed: set[Accessor] = {("key", "*"), *(("key", key) for key in keys)}
    for piece in pieces:
        allowed |= {("attr", piece.text), ("key", piece.text), ("key", repr(piece.text))}
    return allowed


class _Search:
    def __init__(self, files: Sequence[SourceFile], allowed: set[Accessor], keys: frozenset[str]) -> None:
        self._files = files
        self._allowed = allowed
        self._keys = keys
        self._done: set[_Place] = set()

    def candidates(self, place: _Place, detour: int = 0) -> Iterator[_Candidate]:
        """Statements that put to the place, under whatever name."""
        if place in self._done or detour > _STEPS:
            return
        self._done.add(place)
        for file in self._files:
            for put in file.puts:
                rest = place.rest(put.target, put.scope, file.path)
                if rest is not None and self._fits(rest) and not put.is_binding:
                    yield _Candidate(put, file, self._score(put), detour, len(rest))
        for other in [*self._aliases(place), *self._parameters(place)]:
            yield from self.candidates(other, detour + 1)
        if place.is_attribute and place.owner:
            yield from self.candidates(_Place(place.name, "", None, is_attribute=True), detour + 1)
            yield from self._by_key(detour + 2)

    def _fits(self, rest: Chain | None) -> bool:
        return rest is not None and self._allowed.issuperset(rest)

    def _score(self, put: Put) -> int:
        bonus = _KEY_BONUS if any(put.names(key) for key in self._keys) else 0
        return put.score + (bonus if put.score > EMPTY else 0)

    def _aliases(self, place: _Place) -> Iterator[_Place]:
        """`memory = self.memory`, `for meter in meters`."""
        for file in self._files:
            for put in file.puts:
                if put.value and put.target and self._fits(place.rest(put.value, put.scope, file.path)):
                    yield _named_by(put.target, put.scope, file.path)

    def _parameters(self, place: _Place) -> Iterator[_Place]:
        """Parameters of the user's functions that the place is passed to."""
        for file in self._files:
            for call in file.calls:
                for key, chain in call.arguments:
                    if self._fits(place.rest(chain, call.scope, file.path)):
                        yield from self._parameters_of(call.function, key, file)

    def _parameters_of(self, function: str, key: int | str, caller: SourceFile) -> Iterator[_Place]:
        """The function of that name in the caller's own file, else in any: many files have a `train`."""
        near = [each for each in _scopes([caller]) if function in each[1].called_as]
        for file, scope in near or _scopes(self._files):
            if function in scope.called_as and scope.parameters:
                parameters = scope.parameters
                position = key + (parameters[0] in ("self", "cls")) if isinstance(key, int) else None
                if position is not None and position < len(parameters):
                    yield _Place(parameters[position], scope.qualname, file.path, is_attribute=False)
                elif key in parameters:
                    yield _Place(str(key), scope.qualname, file.path, is_attribute=False)

    def _by_key(self, detour: int) -> Iterator[_Candidate]:
        """`entry["val_loss"].append(x)`, under a name that could not be followed."""
        last = {("key", key) for key in self._keys}
        for file in self._files:
            for put in file.puts:
                if put.score >= ITEM and len(put.target) > 1 and put.target[-1] in last:
                    yield _Candidate(put, file, self._score(put), detour)


def _named_by(chain: Chain, scope: Scope, file: str) -> _Place:
    kind, text = next(accessor for accessor in reversed(chain) if accessor[0] != "key")
    if kind == "attr":
        return _Place(text, scope.class_name, file, is_attribute=True)
    return _Place(text, scope.owner_of(text), file, is_attribute=False)
