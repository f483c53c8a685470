"""Proximal policy optimization: thirty-two steps of an environment, then four epochs of training on them."""
import torch
from torch import nn
from torch.distributions import Categorical

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class RolloutBuffer:
    def __init__(self):
        self.states, self.actions, self.log_probs, self.values = [], [], [], []

    def clear(self):
        self.states.clear()
        self.actions.clear()
        self.log_probs.clear()
        self.values.clear()


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 32)
        self.actor, self.critic = nn.Linear(32, 4), nn.Linear(32, 1)

    def forward(self, state):
        hidden = torch.tanh(self.body(state))
        return self.actor(hidden), self.critic(hidden)


agent = ActorCritic().to(device)
optimizer = torch.optim.Adam(agent.parameters(), lr=3e-4)
buffer = RolloutBuffer()
for iteration in range(8):
    state = torch.zeros(16, 8, device=device)
    for _ in range(32):
        with torch.no_grad():
            logits, value = agent(state)
            distribution = Categorical(logits=logits, validate_args=False)
            action = distribution.sample()
        buffer.states.append(state)
        buffer.actions.append(action)
        buffer.log_probs.append(distribution.log_prob(action))
        buffer.values.append(value)
        state = state * 0.9 + torch.randn_like(state) * 0.1
    states = torch.stack(buffer.states).flatten(0, 1)
    actions = torch.stack(buffer.actions).flatten()
    for _ in range(4):
        logits, value = agent(states)
        ratio = torch.log_softmax(logits, dim=-1).gather(1, actions[:, None])
        loss = -ratio.mean() + value.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    buffer.clear()
