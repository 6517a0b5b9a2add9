"""Plain loops, as tutorials and papers' repositories have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.real.training import Line, Outcome, blobs, loop, training


@training("digits CNN, schedule, epochs")
def digits(line: Line) -> Outcome:
    x, y = blobs(320, 1, 14, 14)
    train = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    test = DataLoader(TensorDataset(*blobs(120, 1, 14, 14, seed=1)), batch_size=60)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3)
            self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
            self.fc1, self.fc2 = nn.Linear(400, 32), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
            x = F.relu(self.fc1(torch.flatten(self.dropout1(x), 1)))
            return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)

    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    line(model, test)
    losses = []
    for _ in range(3):
        model.train()
        for data, target in train:
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            losses += [F.nll_loss(model(data), target).item() for data, target in test]
        schedule.step()
    return Outcome(model, 30, lambda: model(x[:2]), losses)


@training("GAN, two optimizers", argument="each model with inputs of its own")
def gan(line: Line) -> Outcome:
    generator = nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(True), nn.Linear(32, 32), nn.ReLU(True),
        nn.Linear(32, 16), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid())
    steps = [torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (generator, critic)]
    real = blobs(320, 16)[0]
    line(generator, torch.randn(64, 8, generator=torch.Generator().manual_seed(4)))
    line(critic, real[:64])
    losses = []
    for step in range(30):
        batch = real[step * 8 : step * 8 + 8]
        fake = generator(torch.randn(len(batch), 8))
        critic.zero_grad()
        ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
        loss = F.binary_cross_entropy(critic(batch), ones) + F.binary_cross_entropy(
            critic(fake.detach()), zeros
        )
        loss.backward()
        steps[1].step()
        generator.zero_grad()
        F.binary_cross_entropy(critic(fake), ones).backward()
        steps[0].step()
        losses.append(loss.item())
    return Outcome(generator, 30, lambda: generator(torch.zeros(2, 8)), losses, (critic,))


@training("VAE")
def vae(line: Line) -> Outcome:
    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(36, 32), nn.Linear(32, 4), nn.Linear(32, 4)
            self.fc3, self.fc4 = nn.Linear(4, 32), nn.Linear(32, 36)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            hidden = F.relu(self.fc1(x))
            mu, log_var = self.fc21(hidden), self.fc22(hidden)
            z = mu + torch.exp(0.5 * log_var) * torch.randn_like(log_var)
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, log_var

    model, x = VAE(), torch.rand(64, 36, generator=torch.Generator().manual_seed(0))
    line(model, torch.rand(64, 36, generator=torch.Generator().manual_seed(1)))

    def loss() -> Tensor:
        out, mu, log_var = model(x)
        return F.binary_cross_entropy(out, x) - 0.5 * torch.mean(1 + log_var - mu**2 - log_var.exp())

    return Outcome(model, 30, lambda: model(x[:2]), loop(model, loss))


@training("GPT that returns (logits, loss)")
def gpt(line: Line) -> Outcome:
    @dataclass
    class Config:
        vocab_size: int = 29
        block_size: int = 16
        width: int = 32

    class Block(nn.Module):
        def __init__(self, c: Config) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(c.width), nn.LayerNorm(c.width)
            self.attn, self.proj = nn.Linear(c.width, 3 * c.width), nn.Linear(c.width, c.width)
            self.mlp = nn.Sequential(
                nn.Linear(c.width, 4 * c.width), nn.GELU(), nn.Linear(4 * c.width, c.width)
            )

        def forward(self, x: Tensor) -> Tensor:
            b, t, c = x.shape
            q, k, v = (
                p.view(b, t, 4, c // 4).transpose(1, 2) for p in self.attn(self.ln_1(x)).split(c, dim=2)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
            x = x + self.proj(y)
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self, c: Config) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(c.vocab_size, c.width), nn.Embedding(c.block_size, c.width)
            self.h = nn.ModuleList([Block(c) for _ in range(2)])
            self.ln_f, self.lm_head = nn.LayerNorm(c.width), nn.Linear(c.width, c.vocab_size, bias=False)
            self.wte.weight = self.lm_head.weight

        def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
            x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
            for block in self.h:
                x = block(x)
            x = self.ln_f(x)
            if targets is None:
                return self.lm_head(x[:, [-1], :]), None
            logits = self.lm_head(x)
            return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    model, text = GPT(Config()), torch.randint(29, (4000,), generator=torch.Generator().manual_seed(0))
    held_out = text[3000:].unfold(0, 17, 16)
    line(model, (held_out[:, :-1], held_out[:, 1:]))

    def loss() -> Tensor:
        at = torch.randint(2900, (8,))
        x = torch.stack([text[i : i + 16] for i in at])
        y = torch.stack([text[i + 1 : i + 17] for i in at])
        return model(x, y)[1]  # type: ignore[no-any-return]

    return Outcome(model, 30, lambda: model(held_out[:2, :-1]), loop(model, loss))


@training("character MLP with tanh")
def characters(line: Line) -> Outcome:
    class MLP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.C, self.hidden, self.out = nn.Embedding(27, 8), nn.Linear(24, 48), nn.Linear(48, 27)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.hidden(self.C(x).flatten(1))))

    model, words = MLP(), torch.randint(27, (600, 4), generator=torch.Generator().manual_seed(0))
    line(model, (words[400:, :3], words[400:, 3]))

    def loss() -> Tensor:
        rows = torch.randint(400, (32,))
        return F.cross_entropy(model(words[rows, :3]), words[rows, 3])

    return Outcome(model, 30, lambda: model(words[:2, :3]), loop(model, loss))


@training("LSTM tagger: nothing to measure", refused="Recurrent layers")
def tagger(line: Line) -> Outcome:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.lstm, self.out = (
                nn.Embedding(20, 8),
                nn.LSTM(8, 16, batch_first=True),
                nn.Linear(16, 4),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.lstm(self.embed(x))[0])

    model, x = Tagger(), torch.randint(20, (64, 6), generator=torch.Generator().manual_seed(0))
    if line.on:
        import logging

        try:
            line(model, (x, x % 4))
        except ValueError as error:  # the user's own call is told
            logging.getLogger("foldmon").warning("%s", error)
    losses = loop(model, lambda: F.cross_entropy(model(x).flatten(0, 1), (x % 4).flatten()))
    return Outcome(model, 30, lambda: model(x[:2]), losses)


@training("regression with gradient accumulation and EMA")
def regression(line: Line) -> Outcome:
    x = torch.randn(320, 6, generator=torch.Generator().manual_seed(0))
    y = x[:, :1] * x[:, 1:2]
    model = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    line(model, (x[256:], y[256:]), **_loss(line, nn.MSELoss()))
    losses = []
    for micro in range(60):
        rows = torch.randint(256, (16,))
        loss = F.mse_loss(model(x[rows]), y[rows]) / 2
        loss.backward()
        losses.append(loss.item())
        if micro % 2:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(model)
    return Outcome(model, 30, lambda: model(x[:2]), losses, (average,))


def _loss(line: Line, criterion: Any) -> dict[str, Any]:
    return {"loss": criterion}


@training("mixed precision, compiled")
def compiled(line: Line) -> Outcome:
    x, y = blobs(160, 12)
    model = nn.Sequential(nn.Linear(12, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3))
    fast = torch.compile(model, backend="aot_eager")
    line(fast, blobs(90, 12, seed=1))

    def loss() -> Tensor:
        rows = torch.randint(160, (32,))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = fast(x[rows])
        return F.cross_entropy(out.float(), y[rows])

    return Outcome(model, 30, lambda: model(x[:2]), loop(model, loss))
