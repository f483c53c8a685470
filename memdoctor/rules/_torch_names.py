"""What is known of PyTorch by name: what cuts a graph, what carries it on, what is a model and what is a loss.

Written from the documentation of `torch.Tensor` and `torch` 2.13; a method that is in no table makes its result
unknown, and rules are silent about the unknown.
"""

from __future__ import annotations

import re

from memdoctor.rules._names import words

CUTTING_METHODS = frozenset(
    """item detach detach_ tolist numpy eq ne gt ge lt le long int bool byte short argmax argmin argsort size dim numel
    nelement element_size stride data_ptr get_device is_contiguous nonzero isnan isinf isfinite any all format
    join split strip keys state_dict __len__ __str__ bincount histc multinomial
    """.split()
)
"""Methods whose result has no graph: numbers, strings, integers, booleans, and detached tensors."""

CUTTING_ATTRIBUTES = frozenset(
    "data shape dtype device requires_grad grad is_cuda is_leaf ndim indices grad_fn __class__ __name__".split()
)

CARRYING_METHODS = frozenset(
    """abs add add_ addmm arctan bmm ceil chunk clamp clamp_ clamp_min clamp_max clip clone contiguous cos cpu cross
    cuda cumsum diag diff div div_ dot double einsum exp expand expand_as expm1 flatten flip float floor gather
    half bfloat16 index_select inverse kthvalue log log1p log2 log_prob log_softmax logsumexp masked_fill
    masked_select matmul max mean median min mm mse mul mul_ mv narrow neg negative norm permute pow prod
    reciprocal relu repeat repeat_interleave reshape roll rsqrt scale scatter select sigmoid sigmoid_ sin sinh
    softmax sort sqrt square squeeze stack std sub sub_ sum t tan tanh tanh_ to topk transpose tril triu type
    type_as unbind unflatten unfold unsqueeze var view view_as where values items get pop copy coalesce to_dense
    requires_grad_
    """.split()
)
"""Methods whose result has the graph of the receiver or of an argument; access to a dictionary counts."""

PAIR_METHODS = frozenset("max min median mode sort topk kthvalue cummax cummin".split())
"""With a dimension they return (values, indices): the second has no graph."""

CUTTING_BUILTINS = frozenset(
    "float int bool str len repr round print isinstance type id hash range format hasattr callable complex".split()
)
CARRYING_BUILTINS = frozenset(
    "sum max min abs list tuple dict zip enumerate reversed sorted iter next set".split()
)

CARRYING_IMPORTS = frozenset({"functools.reduce", "horovod.torch.allreduce", "horovod.torch.allgather"})
"""Functions of other packages that autograd sees through."""

CUTTING_FUNCTIONS = frozenset(
    """tensor as_tensor from_numpy zeros ones rand randn randint empty full zeros_like ones_like rand_like randn_like
    empty_like full_like arange linspace eye argmax argmin argsort eq ne gt ge lt le isnan isinf isfinite
    bincount randperm save load manual_seed device is_tensor numel tensor_split histc nonzero multinomial
    one_hot
    """.split()
)
"""Functions of `torch` whose result has no graph."""

MAKING_FUNCTIONS = frozenset("zeros ones rand randn randint empty full".split())
"""Those among them that make a tensor of nothing but a shape."""

NUMBER_PACKAGES = frozenset("numpy array math random time os sklearn scipy cupy statistics datetime pandas".split())
"""Packages that compute on numbers and arrays: a result of theirs has no graph."""

FOREIGN_FRAMEWORKS = frozenset("tensorflow keras jax flax mxnet paddle caffe2 mindspore oneflow chainer".split())
"""Their models look like PyTorch's by name."""

FOREIGN_LOGS = re.compile(r"\.(summary|Summary|SummaryWriter|gfile|io|logging|flags|compat|get_logger)(\.|$)")
"""What PyTorch programs borrow of them: TensorBoard's writers, files, flags."""

LOSS_FUNCTIONS = re.compile(
    r"\w*_loss|loss|(binary_)?cross_entropy(_with_logits)?|kl_div|.*(CrossEntropy|Loss)\w*", re.IGNORECASE
)
CRITERION_NAME = re.compile(
    r"_*((compute|calc|calculate|get)_)?(\w+_)?"
    r"(criterion|crit|criterions|loss|losses|loss_?fn|loss_?func(tion)?|objective)"
    r"(_?(fn|func|function|[a-z]|\d))?",
    re.IGNORECASE,
)
NOT_A_CRITERION = re.compile(
    r"_*(log|plot|print|update|save|reset|write|add|set|build|make|create|init|load|record|reduce|format|show|draw"
    r"|register|parse|gather|collect|is|has|on|define|setup|prepare|configure)(_|$)",
    re.IGNORECASE,
)

MODEL_NAME = re.compile(
    r"(\w*_)?(model|net|network|encoder|decoder|generator|discriminator|classifier|rnn|[GD])\d*|net_?[A-Z]\w*"
)
FRAMEWORK_STEPS = frozenset({"validation_step", "test_step"})
MODEL_METHOD_NAME = re.compile(
    "|".join(["model", "net", "network", "encoder", "decoder", "discriminator", *FRAMEWORK_STEPS])
)
"""The same for attributes of other objects, where a longer name is a verb: `trainer.model`, `reader.read_model`."""
BUILDER_NAME = re.compile(
    r"_*(build|create|get|load|make|init|set|setup|prepare|define|wrap|save|export|convert|print|count"
    r"|unwrap|fetch|find|select|restore|clone|copy|compile|freeze|unfreeze|update|parse|check|register|quantize"
    r"|fuse|merge|push|upload|download|delete|add|initialize|construct|instantiate|reset|fit|deploy)(_|$)"
)
MODULE_METHODS = frozenset(
    "eval train parameters named_parameters load_state_dict state_dict zero_grad half modules children".split()
)
"""What is called on a model and on little else: a name they are called on is one."""

LOSS_WORDS = frozenset(
    "loss losses cost nll kl kld rec recon reconstruction mse bce mae penalty reg regularization elbo objective".split()
)
NUMBER_WORDS = frozenset(
    """item items log logs logging float num count np str meter scalar number n acc accuracy correct size len idx
    index indices step epoch time history best metric metrics avg ntokens length lengths label labels target targets
    mask
    """.split()
)
TENSOR_WORDS = LOSS_WORDS | frozenset(
    """out output outputs logit logits pred preds prediction predictions feat feats feature features score scores emb
    embs embedding embeddings embed hidden h z prob probs q v value values mu logvar logprob logprobs attn
    attention y_hat code codes latent latents encoded decoded
    """.split()
)

GRAD_OFF_NAME = re.compile(r"no_?grad|inference_mode|smart_?mode|disable_grad|grad_disabled", re.IGNORECASE)
GRAD_SWITCH_NAME = "set_grad_enabled"


def is_loss_like(name: str) -> bool:
    """True for names that people give to losses, false where a word says that it is a number already."""
    found = words(name)
    return bool(found & LOSS_WORDS) and not found & NUMBER_WORDS


def is_tensor_like(name: str) -> bool:
    """True for names that people give to outputs and losses, and not to counts."""
    found = words(name)
    return bool(found & TENSOR_WORDS) and not found & NUMBER_WORDS


def is_criterion(name: str) -> bool:
    """True for names of functions and modules that compute a loss."""
    return bool(CRITERION_NAME.fullmatch(name) or name.endswith("Loss")) and not NOT_A_CRITERION.match(name)
