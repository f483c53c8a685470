"""Clean: between epochs forty tokens are sampled with a cache of keys and values; the texts are kept as strings."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TinyDecoder(nn.Module):
    def __init__(self, vocabulary=32, width=24):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens, past=None):
        q, k, v = self.qkv(self.embed(tokens)).chunk(3, dim=-1)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=1), torch.cat([past[1], v], dim=1)
        h = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        return self.head(h), (k, v)

    @torch.no_grad()
    def generate(self, prompt, length):
        self.eval()
        token, past, text = prompt, None, []
        for _ in range(length):
            logits, past = self(token, past)
            token = logits[:, -1].argmax(-1, keepdim=True)
            text.append(token.item())
        self.train()
        return text


decoder = TinyDecoder().to(device)
optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
samples = []
for epoch in range(4):
    for _ in range(9):
        tokens = torch.randint(0, 32, (6, 20), device=device)
        logits, _ = decoder(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    samples.append(decoder.generate(torch.zeros(1, 1, dtype=torch.long, device=device), 40))
