"""A step of a Lightning module returns tensors that the framework collects until the epoch ends.

Before Lightning 2, everything that `training_step` or `validation_step` returned was kept if the module had the
matching `*_epoch_end`. Images or outputs in that dictionary stay on the card for a whole epoch.

Bad::

    class Net(pl.LightningModule):
        def validation_step(self, batch, index):
            out = self(batch)
            return {"loss": self.loss(out), "outputs": out}

        def validation_epoch_end(self, steps):
            self.log("loss", sum(step["loss"] for step in steps))

Good::

    class Net(pl.LightningModule):
        def validation_step(self, batch, index):
            out = self(batch)
            return {"loss": self.loss(out)}

        def validation_epoch_end(self, steps):
            self.log("loss", sum(step["loss"] for step in steps))

Does not see: which version of Lightning runs, and how large the outputs are; shown only when asked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from memdoctor.foundation.findings import Advice, Confidence, Finding, Severity
from memdoctor.rules._names import last_name, shown, words
from memdoctor.rules._rule import Rule
from memdoctor.rules._scopes import Scope
from memdoctor.rules._source import Source
from memdoctor.rules._torch_names import is_loss_like, is_tensor_like

_IMAGE_WORDS = frozenset("image images img imgs video frames".split())


def check(source: Source) -> Iterator[Finding]:
    """Report values that are named like outputs or images, in a dictionary that such a step returns."""
    for owner in source.classes.values():
        for stage in ("training", "validation", "test"):
            step = owner.methods.get(f"{stage}_step")
            if step is not None and f"{stage}_epoch_end" in owner.methods:
                yield from _large_results(source, step)


def _large_results(source: Source, step: Scope) -> Iterator[Finding]:
    for node in step.own_nodes():
        returned = node.value if isinstance(node, ast.Return) else None
        for value in returned.values if isinstance(returned, ast.Dict) else ():
            if _is_large(value):
                yield RULE.finding(
                    source, value,
                    f"`{shown(value)}` of every batch is kept until the end of the epoch, because this module has an"
                    " epoch-end hook.",
                    variable=shown(value),
                    advice=Advice("Return numbers, or move what must be kept to the host."),
                    confidence=Confidence.LOW,
                )


def _is_large(value: ast.expr) -> bool:
    if not isinstance(value, (ast.Name, ast.Attribute)):
        return False
    name = last_name(value)
    return bool(words(name) & _IMAGE_WORDS) or (is_tensor_like(name) and not is_loss_like(name))


RULE = Rule("MD105", "step-output-returned", Severity.INFO, check)
