"""A small decoder in the manner of nanoGPT: autocast, fused AdamW with two groups, accumulation, sampling."""

import math
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional

batch_size, block_size, vocabulary, width, heads, layers = 4, 64, 65, 96, 4, 2
gradient_accumulation_steps = 2
device = "cuda"
dtype = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float16"
ptdtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
ctx = nullcontext() if device == "cpu" else torch.amp.autocast(device_type="cuda", dtype=ptdtype)
torch.backends.cuda.matmul.allow_tf32 = True


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = (part.view(b, t, heads, c // heads).transpose(1, 2) for part in self.attn(self.norm1(x)).split(c, 2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(b, t, c))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(block_size, width)
        self.h = nn.ModuleList(Block() for _ in range(layers))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), dtype=torch.long, device=idx.device))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits[:, [-1], :], None
        return logits, functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)

    @torch.no_grad()
    def generate(self, idx, count):
        for _ in range(count):
            logits, _ = self(idx[:, -block_size:])
            values, _ = torch.topk(logits[:, -1, :], 5)
            logits = logits[:, -1, :]
            logits[logits < values[:, [-1]]] = -float("Inf")
            idx = torch.cat((idx, torch.multinomial(functional.softmax(logits, dim=-1), num_samples=1)), dim=1)
        return idx


def get_batch():
    data = torch.randint(0, vocabulary, (batch_size, block_size + 1))
    x, y = data[:, :-1].contiguous(), data[:, 1:].contiguous()
    return x.pin_memory().to(device, non_blocking=True), y.pin_memory().to(device, non_blocking=True)


model = torch.compile(GPT().to(device))
scaler = torch.amp.GradScaler("cuda", enabled=(dtype == "float16"))
parameters = list(model.parameters())
optimizer = torch.optim.AdamW(
    [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
     {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}], lr=6e-4, betas=(0.9, 0.95), fused=True)
X, Y = get_batch()
for iteration in range(3):
    for group in optimizer.param_groups:
        group["lr"] = 6e-4 * 0.5 * (1.0 + math.cos(math.pi * iteration / 3))
    for _ in range(gradient_accumulation_steps):
        with ctx:
            _, loss = model(X, Y)
            loss = loss / gradient_accumulation_steps
        X, Y = get_batch()
        scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    print(f"iter {iteration}: loss {loss.item() * gradient_accumulation_steps:.4f}")
model.eval()
assert model.generate(torch.zeros((1, 1), dtype=torch.long, device=device), 5).shape == (1, 6)
