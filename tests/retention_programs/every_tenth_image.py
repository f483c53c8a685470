"""Leak: every tenth step logs its reconstructions, on the device."""
import torch
from torch import nn


class Dashboard:
    """Stands in for the logger of a web service, which uploads at the end of the run."""

    def __init__(self, project):
        self.project = project
        self.media = {}

    def log_images(self, tag, images, step):
        self.media.setdefault(tag, []).append({"step": step, "images": images})


def reconstruction_step(model, batch, optimizer):
    reconstruction = model(batch)
    loss = nn.functional.binary_cross_entropy_with_logits(reconstruction, batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return reconstruction.sigmoid().detach(), loss.item()


def main(steps=160, log_every=10):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    dashboard = Dashboard("autoencoder")
    for step in range(steps):
        batch = torch.rand(20, 64, device=device)
        images, loss = reconstruction_step(model, batch, optimizer)
        if step % log_every == 0:
            dashboard.log_images("reconstruction", images, step)
    return loss


if __name__ == "__main__":
    main()
