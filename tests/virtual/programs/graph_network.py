"""Graph convolution twice: with a sparse adjacency matrix, and with messages that are added up by index."""

import torch
from torch import nn
from torch.nn import functional

device = torch.device("cuda")
nodes, edges, features, classes = 200, 1000, 16, 4


class GraphConvolution(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adjacency):
        return torch.sparse.mm(adjacency, x @ self.weight) + self.bias


class MessagePassing(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x, edge_index):
        source, target = edge_index
        messages = self.linear(x)[source]
        degree = torch.zeros(x.size(0), device=x.device).index_add_(0, target, torch.ones_like(target, dtype=x.dtype))
        total = x.new_zeros(x.size(0), messages.size(1)).index_add_(0, target, messages)
        return total / degree.clamp(min=1).unsqueeze(1)


def main():
    edge_index = torch.randint(0, nodes, (2, edges))
    adjacency = torch.sparse_coo_tensor(edge_index, torch.ones(edges), (nodes, nodes), check_invariants=True)
    adjacency = adjacency.coalesce().to(device)
    x, labels = torch.randn(nodes, features).to(device), torch.randint(0, classes, (nodes,)).to(device)
    mask = torch.zeros(nodes, dtype=torch.bool)
    mask[:140] = True
    mask = mask.to(device)
    for kind, structure in ((GraphConvolution, adjacency), (MessagePassing, edge_index.to(device))):
        layers = nn.ModuleList([kind(features, 32), kind(32, classes)]).to(device)
        optimizer = torch.optim.Adam(layers.parameters(), lr=0.01, weight_decay=5e-4)
        for _ in range(3):
            optimizer.zero_grad()
            hidden = functional.dropout(functional.relu(layers[0](x, structure)), 0.5)
            out = layers[1](hidden, structure)
            loss = functional.cross_entropy(out[mask], labels[mask])
            loss.backward()
            optimizer.step()
        assert out[mask].shape == (140, classes)


if __name__ == "__main__":
    main()
