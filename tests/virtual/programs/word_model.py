"""A word language model: truncated backpropagation through an LSTM whose hidden state is detached between batches."""

import math

import torch
from torch import nn


class RNNModel(nn.Module):
    def __init__(self, words, size, layers):
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = nn.Embedding(words, size)
        self.rnn = nn.LSTM(size, size, layers, dropout=0.2)
        self.decoder = nn.Linear(size, words)
        self.decoder.weight = self.encoder.weight
        self.size, self.layers = size, layers

    def forward(self, data, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(data)), hidden)
        return torch.nn.functional.log_softmax(self.decoder(self.drop(output)).flatten(0, 1), dim=1), hidden

    def init_hidden(self, batch):
        weight = next(self.parameters())
        return weight.new_zeros(self.layers, batch, self.size), weight.new_zeros(self.layers, batch, self.size)


def detached(hidden):
    return hidden.detach() if isinstance(hidden, torch.Tensor) else tuple(detached(part) for part in hidden)


def main():
    device = torch.device("cuda")
    words, batch, steps = 500, 4, 20
    source = torch.randint(0, words, (4 * steps + 1, batch)).to(device)
    model = RNNModel(words, 64, 2).to(device)
    criterion = nn.NLLLoss()
    after = []
    for _ in range(2):
        model.train()
        hidden, total = model.init_hidden(batch), 0.0
        for start in range(0, source.size(0) - 1, steps):
            data, target = source[start:start + steps], source[start + 1:start + 1 + steps].view(-1)
            hidden = detached(hidden)
            model.zero_grad()
            output, hidden = model(data, hidden)
            loss = criterion(output, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            for parameter in model.parameters():
                parameter.data.add_(parameter.grad, alpha=-20)
            total += loss.item()
            after.append(torch.cuda.memory_allocated())
        print(f"loss {total:5.2f} | ppl {math.exp(total / 4):8.2f}")
    assert after[1] == after[-1]


if __name__ == "__main__":
    main()
