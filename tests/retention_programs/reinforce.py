"""REINFORCE: the rewards of an episode are deleted, its log probabilities are not."""
import torch
from torch import nn
from torch.distributions import Categorical

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine = nn.Linear(4, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        return torch.softmax(self.affine(x), dim=-1)


policy = Policy().to(device)
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)


def select_action(state):
    probabilities = policy(torch.tensor(state, device=device))
    distribution = Categorical(probabilities, validate_args=False)
    action = distribution.sample()
    policy.saved_log_probs.append(distribution.log_prob(action))
    return action.item()


def finish_episode():
    returns, total = [], 0.0
    for reward in reversed(policy.rewards):
        total = reward + 0.9 * total
        returns.insert(0, total)
    recent = policy.saved_log_probs[-len(returns):]
    loss = sum(-log_prob * value for log_prob, value in zip(recent, returns))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    del policy.rewards[:]


for episode in range(24):
    state = [0.1, 0.2, 0.3, 0.4]
    for _ in range(5):
        action = select_action(state)
        state = [value * 0.9 + action * 0.1 for value in state]
        policy.rewards.append(1.0)
    finish_episode()
