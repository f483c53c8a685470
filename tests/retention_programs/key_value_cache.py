"""Text is generated with a cache of keys and values that each prompt begins anew."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class CachedAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.project = nn.Linear(width, 3 * width)
        self.keys, self.values = None, None

    def reset(self):
        self.keys, self.values = None, None

    def forward(self, x):
        query, key, value = self.project(x).chunk(3, dim=-1)
        self.keys = key if self.keys is None else torch.cat([self.keys, key], dim=1)
        self.values = value if self.values is None else torch.cat([self.values, value], dim=1)
        return (query @ self.keys.transpose(1, 2)).softmax(dim=-1) @ self.values


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 32)
        self.attention = CachedAttention(32)
        self.head = nn.Linear(32, 40)

    def forward(self, ids):
        return self.head(self.attention(self.embedding(ids)))


@torch.inference_mode()
def generate(model, prompt, length):
    model.attention.reset()
    logits = model(prompt)
    tokens = []
    for _ in range(length):
        token = logits[:, -1:].argmax(dim=-1)
        tokens.append(token)
        logits = model(token)
    return torch.cat(tokens, dim=1)


model = Model().to(device).eval()
for number in range(4):
    print(generate(model, torch.randint(0, 40, (2, 5), device=device), 20 + number).shape)
