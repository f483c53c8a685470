"""Programs at random, made of the words that rules know; most of them parse."""

from __future__ import annotations

from hypothesis import strategies as st

_PLACES = ["loss", "total", "model", "x", "self.total", "stats['a']", "outputs[0]"]
_ATOMS = ["x", "loss", "total", "0", "None", "'text'", "lambda: loss", "stats['a']", "self.total"]
_CALLS = [
    "model(x)", "criterion(model(x), y)", "step(x)", "self.step(x)", "loss.backward()", "model.eval()", "model.train()",
    "loss.item()", "torch.no_grad()", "torch.load(x)", "torch.cuda.empty_cache()", "outputs.append(loss)",
    "d.setdefault(x, []).append(loss)", "optimizer.zero_grad(set_to_none=False)", "loss.backward(retain_graph=True)",
    "nn.DataParallel(model)", "sum(outputs)", "model.register_forward_hook(step)", "DataLoader(x, collate_fn=step)",
    "[model(x) for x in loader]", "{**stats}", "loss.detach()", "(total := total + loss)",
]
_AROUND = [
    "({},)", "float({})", "[{0}, {0}]", "{{'a': {}}}", "await ({})", "(yield {})", "({0} if {0} else x)", "-({})",
]
_LINES = [
    "pass", "del loss", "raise x", "global total", "x = 1  # memdoctor: ignore[MD101]", "\f", "break", "a, *x = loss",
]
_HEADS = [
    "for x, y in loader:", "while x:", "if x:", "with torch.no_grad():", "with x as total:", "try:", "for epoch in e:",
    "class A(nn.Module):", "class D(Dataset):", "def step(self, x=loss):", "async def evaluate(*x):",
    "def validate(model):",
]


def _filled(form: str, inner: str) -> str:
    return form.format(inner)


def _block(head: str, body: list[str]) -> str:
    inside = "".join(f" {line}\n" for line in "".join(body).split("\n") if line)
    return f"{head}\n{inside}" + (f"except RuntimeError:\n{inside}" if head == "try:" else "")


_EXPRESSIONS = st.recursive(
    st.sampled_from([*_ATOMS, *_CALLS]),
    lambda inner: st.builds(_filled, st.sampled_from(_AROUND), inner),
    max_leaves=3,
)
_STATEMENTS = st.recursive(
    st.one_of(
        st.builds("{} = {}\n".format, st.sampled_from(_PLACES), _EXPRESSIONS),
        st.builds("{} += {}\n".format, st.sampled_from(_PLACES), _EXPRESSIONS),
        st.builds("return {}\n".format, _EXPRESSIONS),
        st.builds("{}\n".format, _EXPRESSIONS),
        st.sampled_from(_LINES).map("{}\n".format),
    ),
    lambda inner: st.builds(_block, st.sampled_from(_HEADS), st.lists(inner, min_size=1, max_size=4)),
    max_leaves=12,
)
PROGRAMS = st.lists(_STATEMENTS, min_size=1, max_size=6).map(lambda body: "".join(["import torch\n", *body]))
