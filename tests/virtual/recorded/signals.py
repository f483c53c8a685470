"""Sound, films and series: alignments summed over, flows refined, voices judged, scans in parallel, quantiles."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .training import Step, tokens, training


class _Transducer(nn.Module):
    """Encoder and predictor meet at every pair of frame and letter."""

    def __init__(self, width: int = 256, letters: int = 40) -> None:
        super().__init__()
        self.stem, self.encoder = nn.Conv1d(80, width, 5, 4, 2), nn.LSTM(width, width, 2, batch_first=True)
        self.words, self.predictor = nn.Embedding(letters, width), nn.LSTM(width, width, batch_first=True)
        self.sound, self.text, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, letters)

    def forward(self, sound: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        heard = self.encoder(self.stem(sound).relu().transpose(1, 2))[0]
        said = self.predictor(functional.pad(self.words(words), (0, 0, 1, 0)))[0]
        return self.out(torch.tanh(self.sound(heard)[:, :, None] + self.text(said)[:, None])).log_softmax(-1)


def alignments_of_a_transducer() -> Step:
    """The probability of all alignments, one anti-diagonal after the other."""
    def loss_of(model: nn.Module) -> torch.Tensor:
        words = torch.randint(1, 40, (4, 12), device="cuda")
        scores = model(torch.randn(4, 80, 160, device="cuda"), words)
        blank = scores[..., 0]
        letter = scores[:, :, :-1].gather(3, words[:, None, :, None].expand(-1, scores.shape[1], -1, 1))[..., 0]
        rows = [torch.cat((blank.new_zeros(4, 1), letter[:, 0].cumsum(1)), 1)]
        for time in range(1, scores.shape[1]):
            stay, row = rows[-1] + blank[:, time - 1], []
            for place in range(13):
                moved = row[-1] + letter[:, time, place - 1] if place else None
                row.append(stay[:, 0] if moved is None else torch.logaddexp(stay[:, place], moved))
            rows.append(torch.stack(row, 1))
        return -(rows[-1][:, -1] + blank[:, -1, -1]).mean()
    return training(_Transducer(), loss_of)


def _normed(layer: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(layer)


class _Voice(nn.Module):
    """Mel frames to samples: transposed convolutions, each with dilated residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = _normed(nn.Conv1d(80, 128, 7, 1, 3)), _normed(nn.Conv1d(32, 1, 7, 1, 3))
        self.up = nn.ModuleList(
            _normed(nn.ConvTranspose1d(inside, inside // 2, 16, 8, 4)) for inside in (128, 64))
        self.blocks = nn.ModuleList(nn.ModuleList(
            _normed(nn.Conv1d(width, width, 3, 1, rate, rate)) for rate in (1, 3, 5)) for width in (64, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for up, block in zip(self.up, self.blocks):
            x = up(functional.leaky_relu(x, 0.1))
            for layer in block:
                x = x + layer(functional.leaky_relu(x, 0.1))
        return torch.tanh(self.out(functional.leaky_relu(x)))


class _Periods(nn.Module):
    """Sound folded to a picture of a given period, and judged; what every layer saw is kept."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period, sizes = period, (1, 32, 64, 128)
        self.layers = nn.ModuleList(
            _normed(nn.Conv2d(*pair, (5, 1), (3, 1), (2, 0))) for pair in zip(sizes, sizes[1:]))
        self.out = _normed(nn.Conv2d(128, 1, (3, 1), 1, (1, 0)))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = functional.pad(x, (0, -x.shape[-1] % self.period), "reflect")
        x, seen = x.unflatten(-1, (-1, self.period)), []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.1)
            seen.append(x)
        return [*seen, self.out(x)]


def voices_judged_by_periods() -> Step:
    voice, judges = _Voice().cuda(), nn.ModuleList(_Periods(period) for period in (2, 3, 5)).cuda()
    optimizers = [torch.optim.AdamW(part.parameters(), 2e-4, (0.8, 0.99)) for part in (voice, judges)]
    bank = torch.randn(80, 1, 256, device="cuda")

    def step() -> None:
        real = torch.randn(4, 1, 4096, device="cuda")
        heard = functional.conv1d(functional.pad(real, (96, 96), "reflect"), bank, stride=64).abs().clamp(1e-5).log()
        made = voice(heard)
        optimizers[1].zero_grad()
        loss = sum(((1 - judge(real)[-1]) ** 2).mean() + (judge(made.detach())[-1] ** 2).mean() for judge in judges)
        loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        again = functional.conv1d(functional.pad(made, (96, 96), "reflect"), bank, stride=64).abs().clamp(1e-5).log()
        loss = 45 * functional.l1_loss(again, heard)
        for judge in judges:
            *seen, out = judge(made)
            loss = loss + ((1 - out) ** 2).mean()
            loss = loss + 2 * sum(functional.l1_loss(own, truth) for own, truth in zip(seen, judge(real)))
        loss.backward()
        optimizers[0].step()
    return step


class _Weather(nn.Module):
    """Gates that are convolutions, over films; the last state goes on into the future."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.cells = nn.ModuleList(nn.Conv2d(size + width, 4 * width, 3, padding=1) for size in (1, width))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, film: torch.Tensor) -> torch.Tensor:
        batch, frames, _, height, breadth = film.shape
        states = [[film.new_zeros(batch, self.width, height, breadth) for _ in range(2)] for _ in self.cells]
        made: list[torch.Tensor] = []
        for time in range(frames + 4):
            x = film[:, time] if time < frames else made[-1]
            for cell, state in zip(self.cells, states):
                into, forget, out, new = cell(torch.cat((x, state[0]), 1)).chunk(4, 1)
                state[1] = forget.sigmoid() * state[1] + into.sigmoid() * new.tanh()
                x = state[0] = out.sigmoid() * state[1].tanh()
            made.append(self.out(x).sigmoid())
        return torch.stack(made[-4:], 1)


def weather_of_convolutional_cells() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        film = torch.rand(4, 10, 1, 40, 40, device="cuda")
        return functional.binary_cross_entropy(model(film[:, :6]), film[:, 6:])
    return training(_Weather(), loss_of, clip=1.0)


class _Tubes(nn.Module):
    """Attention over time, then over places, between tubes of a film."""

    def __init__(self, width: int = 192, heads: int = 3) -> None:
        super().__init__()
        self.stem, self.heads = nn.Conv3d(3, width, (2, 16, 16), (2, 16, 16)), heads
        self.places = nn.Parameter(torch.zeros(1, 1, 16, width))
        self.times = nn.Parameter(torch.zeros(1, 8, 1, width))
        self.layers = nn.ModuleList(nn.ModuleDict({
            "norms": nn.ModuleList(nn.LayerNorm(width) for _ in range(3)),
            "inner": nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2)),
            "outer": nn.ModuleList(nn.Linear(width, width) for _ in range(2)),
            "feed": nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))})
            for _ in range(3))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.5), nn.Linear(width, 174))

    def forward(self, film: torch.Tensor) -> torch.Tensor:
        x = self.stem(film).flatten(3).permute(0, 2, 3, 1) + self.places + self.times
        for layer in self.layers:
            x = x + self._mixed(layer, 0, x.transpose(1, 2)).transpose(1, 2)
            x = x + self._mixed(layer, 1, x)
            x = x + layer["feed"](layer["norms"][2](x))
        return self.head(x.mean((1, 2)))

    def _mixed(self, layer: nn.ModuleDict, number: int, x: torch.Tensor) -> torch.Tensor:
        parts = layer["inner"][number](layer["norms"][number](x)).unflatten(-1, (3, self.heads, -1))
        out = functional.scaled_dot_product_attention(*parts.permute(3, 0, 1, 4, 2, 5), dropout_p=0.1)
        return layer["outer"][number](out.transpose(2, 3).flatten(3))


def films_in_tubes_bfloat16_ampere() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        film, labels = torch.randn(4, 3, 16, 64, 64, device="cuda"), torch.randint(0, 174, (4,), device="cuda")
        share, order = torch.rand((), device="cuda"), torch.randperm(4, device="cuda")
        out = model(share * film + (1 - share) * film[order])
        one, other = (functional.cross_entropy(out, part, label_smoothing=0.1) for part in (labels, labels[order]))
        return share * one + (1 - share) * other
    return training(_Tubes(), loss_of, precision=torch.bfloat16, accumulation=2)


class _Flow(nn.Module):
    """All pairs of two pictures' features, looked up around the flow found so far, which a gated cell refines."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 7, 2, 3), nn.InstanceNorm2d(32), nn.ReLU(True), nn.Conv2d(32, width, 3, 2, 1))
        self.around = nn.Conv2d(2 * 25 + 2, width, 3, padding=1)
        self.gates, self.new = nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.Conv2d(2 * width, width, 3, padding=1)
        self.move = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(True), nn.Conv2d(width, 2, 3, 1, 1))

    def forward(self, pair: torch.Tensor) -> list[torch.Tensor]:
        one, other = self.stem(pair).chunk(2)
        batch, width, height, breadth = one.shape
        scores = (one.flatten(2).transpose(1, 2) @ other.flatten(2)).float() / width ** 0.5
        pyramid = [scores.view(batch * height * breadth, 1, height, breadth)]
        pyramid.append(functional.avg_pool2d(pyramid[0], 2))
        start = torch.stack(torch.meshgrid(
            torch.arange(breadth, device=pair.device), torch.arange(height, device=pair.device), indexing="xy"))
        start = start.float().expand(batch, -1, -1, -1)
        offsets = torch.cartesian_prod(*(torch.arange(-2.0, 3, device=pair.device),) * 2)
        place, state, found = start, one.tanh(), []
        for _ in range(4):
            place, seen = place.detach(), []
            for level, picture in enumerate(pyramid):
                where = place.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2) / 2 ** level + offsets[None, None]
                size = torch.tensor(picture.shape[:1:-1], device=pair.device) - 1
                seen.append(functional.grid_sample(picture, 2 * where / size - 1, align_corners=True)
                            .view(batch, height, breadth, 25))
            x = torch.cat((*seen, (place - start).permute(0, 2, 3, 1)), -1).permute(0, 3, 1, 2)
            x = self.around(x).relu()
            update, reset = self.gates(torch.cat((state, x), 1)).sigmoid().chunk(2, 1)
            state = (1 - update) * state + update * self.new(torch.cat((reset * state, x), 1)).tanh()
            place = place + self.move(state)
            found.append(4 * functional.interpolate(place - start, scale_factor=4, mode="bilinear", align_corners=True))
        return found


def flow_between_pictures_float16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        truth = torch.randn(2, 2, 64, 96, device="cuda")
        is_known = torch.rand(2, 64, 96, device="cuda") > 0.2
        found = model(torch.randn(4, 3, 64, 96, device="cuda"))
        return sum(
            0.8 ** (len(found) - number) * (is_known[:, None] * (one - truth).abs()).mean()
            for number, one in enumerate(found))
    return training(_Flow(), loss_of, precision=torch.float16, clip=1.0)


class _Scan(nn.Module):
    """A gated recurrence for all times at once, in logarithms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.both, self.out = nn.RMSNorm(width), nn.Linear(width, 4 * width), nn.Linear(2 * width, width)
        self.near = nn.Conv1d(width, width, 4, padding=3, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        near = self.near(self.norm(x).transpose(1, 2))[..., :x.shape[1]].transpose(1, 2)
        new, gate = self.both(functional.silu(near)).chunk(2, -1)
        decay = functional.pad((-functional.softplus(gate)).cumsum(1), (0, 0, 1, 0))
        value = torch.where(new >= 0, (new.relu() + 0.5).log(), -functional.softplus(-new)) - functional.softplus(-gate)
        state = torch.logcumsumexp(functional.pad(value, (0, 0, 1, 0), value=-1.0) - decay, 1)
        return x + self.out((decay + state).exp()[:, 1:])


class _Scanned(nn.Module):
    def __init__(self, width: int = 256, words: int = 5000) -> None:
        super().__init__()
        self.words, self.blocks = nn.Embedding(words, width), nn.ModuleList(_Scan(width) for _ in range(3))
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def _next_word(model: nn.Module) -> torch.Tensor:
    words = tokens(4, 257, 5000)
    return functional.cross_entropy(model(words[:, :-1]).flatten(0, 1), words[:, 1:].flatten())


def scans_in_logarithms() -> Step:
    return training(_Scanned(), _next_word)


def scans_in_logarithms_bfloat16() -> Step:
    return training(_Scanned(), _next_word, precision=torch.bfloat16, clip=1.0)


class _Forecast(nn.Module):
    """Columns chosen by gates, a recurrence over past and future, attention over both, and a quantile for each head."""

    def __init__(self, columns: int = 12, width: int = 64) -> None:
        super().__init__()
        self.into = nn.ModuleList(nn.Linear(1, width) for _ in range(columns))
        self.choose = self._gate(columns * width, columns)
        self.past, self.future = nn.LSTM(width, width, batch_first=True), nn.LSTM(width, width, batch_first=True)
        self.attend = nn.MultiheadAttention(width, 4, 0.1, batch_first=True)
        self.gates = nn.ModuleList(self._gate(width, width) for _ in range(2))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 7)

    def _gate(self, inside: int, outside: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inside, 64), nn.ELU(), nn.Dropout(0.1), nn.Linear(64, 2 * outside), nn.GLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = torch.stack([layer(x[..., number, None]) for number, layer in enumerate(self.into)], -1)
        shares = self.choose(columns.flatten(-2)).softmax(-1)
        x = (columns * shares[..., None, :]).sum(-1)
        past, state = self.past(x[:, :-24])
        x = x + torch.cat((past, self.future(x[:, -24:], state)[0]), 1)
        x = self.norm(x + self.gates[0](x))
        hidden = torch.ones(24, x.shape[1], dtype=torch.bool, device=x.device).triu(x.shape[1] - 23)
        seen, _ = self.attend(x[:, -24:], x, x, attn_mask=hidden)
        return self.out(seen + self.gates[1](seen))


def quantiles_of_series() -> Step:
    levels = torch.tensor([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])

    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randn(64, 96, 12, device="cuda"))
        missed = torch.randn(64, 24, 1, device="cuda") - out
        at = levels.to(missed.device)
        return torch.maximum(at * missed, (at - 1) * missed).sum(-1).mean()
    return training(_Forecast(), loss_of, clip=0.1, optimizer=lambda given: torch.optim.Adam(given, 3e-3))


PROGRAMS = (
    alignments_of_a_transducer, voices_judged_by_periods, weather_of_convolutional_cells,
    films_in_tubes_bfloat16_ampere, flow_between_pictures_float16, scans_in_logarithms, scans_in_logarithms_bfloat16,
    quantiles_of_series,
)
