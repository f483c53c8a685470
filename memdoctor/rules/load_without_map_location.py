"""A checkpoint is loaded to the device that it was saved from.

`torch.load` puts every tensor where it was when it was saved, as a rule the first GPU. In distributed training every
process fills that one card; elsewhere a second copy of weights and optimizer state lies on the card beside the model
until the dictionary dies. `load_state_dict` copies to the parameters' device anyway.

Bad::

    model.load_state_dict(torch.load("model.pt"))

Good::

    model.load_state_dict(torch.load("model.pt", map_location="cpu"))

Does not see: whether the file was saved from a GPU; a checkpoint that is handed to a function of another file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Applicability, Finding, Severity
from memdoctor.rules._edits import with_argument
from memdoctor.rules._names import identifiers, last_name, path_of, root_of, targets_of, words
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source

_NO_CHECKPOINT_WORDS = frozenset(
    "data dataset corpus feat feats feature features cache cached spec specs token tokens".split()
)
_SAVED_ON_CPU_WORDS = frozenset("backbone pretrained pretrain imagenet".split())
_IN_MEMORY = "BytesIO"
_SMALL_STATES = ("sched", "scaler", "sampler", "meter")
_TPU_PACKAGE = "torch_xla"
_STATE_WORDS = frozenset("state dict weight weights param params checkpoint ckpt".split())
_DISTRIBUTED = re.compile(r"init_process_group|local_rank|DistributedDataParallel|horovod|hvd")
_TENSOR_USES = frozenset("shape size dim ndim unsqueeze squeeze view reshape permute transpose numpy mean".split())
_MODULE_USES = frozenset({"cuda", "eval", "to", "train", "parameters", "half"})


def check(source: Source) -> Iterator[Finding]:
    """Report loads without a device whose result becomes the state of a model or optimizer, or a module."""
    if source.is_test or _TPU_PACKAGE in source.imports.packages:
        return
    for call, scope in source.calls.get("load", []):
        if source.imports.resolve(call.func) != "torch.load" or _says_where(call):
            continue
        if not _is_data(source, call) and not _is_published(source, call, scope):
            uses = _Uses(source, scope, call)
            if uses.as_state or uses.as_module:
                yield _finding(source, call, uses)


def _says_where(call: ast.Call) -> bool:
    keywords = {keyword.arg for keyword in call.keywords}
    return len(call.args) > 1 or bool(keywords & {"map_location", "mmap", None})


def _is_data(source: Source, call: ast.Call) -> bool:
    """The path or the name of the result says that it is no checkpoint of a GPU run."""
    statement = source.parents[call]
    places = [*call.args, *(statement.targets if isinstance(statement, ast.Assign) else [])]
    names = [name for place in places for name in [*identifiers(place), *_texts(place)]]
    other = _NO_CHECKPOINT_WORDS | _SAVED_ON_CPU_WORDS
    in_memory = {path_of(place) for made, _ in source.calls.get(_IN_MEMORY, []) for place in _held_as(source, made)}
    if _IN_MEMORY in names or any(path_of(argument) in in_memory for argument in call.args):
        return True
    return any(words(name) & other for name in names)


def _is_published(source: Source, call: ast.Call, scope: Scope) -> bool:
    """In the constructor of a model, under its switch `pretrained`: weights that were saved on the host."""
    tests = [node.test for node in source.around(call, scope) if isinstance(node, (ast.If, ast.IfExp))]
    is_switch = any(name == "pretrained" for test in tests for name in identifiers(test))
    is_own = scope.owner is not None and scope.owner.is_module
    return is_switch and ("pretrained" in scope.parameters or is_own)


def _held_as(source: Source, made: ast.Call) -> Iterator[ast.AST]:
    parent = source.parents[made]
    if isinstance(parent, ast.withitem) and parent.optional_vars is not None:
        yield parent.optional_vars
    yield from source.assigned(made)


def _texts(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


class _Uses:
    """Where the result of a load goes within its scope: followed through assignments by name."""

    def __init__(self, source: Source, scope: Scope, call: ast.Call) -> None:
        self.as_state = self.as_module = self.as_optimizer_state = False
        self._source = source
        own = list(scope.own_nodes())
        self._nodes = sorted(
            (node for node in own if isinstance(node, (ast.Assign, ast.Call, ast.For))),
            key=lambda node: (node.lineno, node.col_offset),
        )
        self._indexed = {path_of(node.value) for node in own if isinstance(node, ast.Subscript)}
        self._names: set[str] = set()
        self._follow(call)
        self.as_module &= not any(isinstance(node, ast.Attribute) and self._is_tensor(node) for node in own)

    def _follow(self, call: ast.Call) -> None:
        self._look_around(call)
        for node in self._nodes:
            if node.lineno >= call.lineno:
                self._look_at(node)

    def _look_around(self, call: ast.Call) -> None:
        node: ast.AST = call
        while not isinstance(node, ast.stmt):
            parent = self._source.parents[node]
            if isinstance(parent, ast.Call) and node is not parent.func:
                self._note_state(parent)
            if isinstance(parent, ast.Attribute) and parent.attr in _MODULE_USES:
                self.as_module = True
            node = parent
        if isinstance(node, ast.Assign):
            self._names |= _places(node.targets)
            self.as_module |= any(self._is_model(target) for target in node.targets)

    def _is_model(self, target: ast.AST) -> bool:
        return self._source.is_model(target) and path_of(target) not in self._indexed

    def _is_tensor(self, node: ast.Attribute) -> bool:
        """One tensor, as data is saved: `mel.shape`, `mel.unsqueeze(0)`."""
        return node.attr in _TENSOR_USES and path_of(node.value) in self._names

    def _look_at(self, node: ast.Assign | ast.Call | ast.For) -> None:
        if isinstance(node, ast.Call):
            self._look_at_call(node)
        elif isinstance(node, ast.For):
            if self._mentions(node.iter):
                self._names |= _places([node.target])
        elif self._is_part(node.value):
            self._names |= _places(node.targets)

    def _is_part(self, value: ast.AST) -> bool:
        """An item or a rewritten copy of it; what another call computes from it is something else."""
        if isinstance(value, ast.Call) and not any(words(name) & _STATE_WORDS for name in identifiers(value.func)):
            return False
        return self._mentions(value)

    def _look_at_call(self, node: ast.Call) -> None:
        if any(self._mentions(argument) for argument in node.args):
            self._note_state(node)
        path = path_of(node.func) or ""
        if path in self._names or (path.rpartition(".")[0] in self._names and last_name(node.func) in _MODULE_USES):
            self.as_module = True

    def _note_state(self, call: ast.Call) -> None:
        if _sets_state(call):
            receiver = call.func.value if isinstance(call.func, ast.Attribute) else call
            names = {name.lower() for name in identifiers(receiver)}
            self.as_state |= not any(small in name for name in names for small in _SMALL_STATES)
            self.as_optimizer_state |= any("optim" in name for name in names)

    def _mentions(self, node: ast.AST) -> bool:
        return any(path_of(part) in self._names for part in ast.walk(node))


def _sets_state(call: ast.Call) -> bool:
    """`load_state_dict(...)`, or by hand: `own_state[name].copy_(...)`."""
    name = last_name(call.func)
    by_hand = name == "copy_" and any(words(part) & _STATE_WORDS for part in identifiers(call.func))
    return by_hand or name == "load_state_dict"


def _places(targets: list[ast.expr]) -> set[str]:
    places = [path_of(place) for target in targets for place in targets_of(target)]
    return {place if place.startswith("self.") else root_of(place) for place in places if place is not None}


def _finding(source: Source, call: ast.Call, uses: _Uses) -> Finding:
    distributed = any(_DISTRIBUTED.search(line) for line in source.lines)
    alone = "a second copy lies on the GPU beside the model"
    where = "every process loads it onto the same GPU" if distributed else alone
    only_state = uses.as_state and not uses.as_module
    return RULE.finding(
        source, call, f"`torch.load` without `map_location` puts the tensors where they were saved: {where}.",
        advice=Advice(
            'Add `map_location="cpu"`.',
            Applicability.SAFE if only_state else Applicability.UNSAFE,
            (with_argument(source, call, 'map_location="cpu"'),),
        ),
        severity=Severity.WARNING if distributed or uses.as_optimizer_state else Severity.INFO,
    )


RULE = Rule("MD301", "load-without-map-location", Severity.WARNING, check)
