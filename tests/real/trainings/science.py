"""Probabilistic, physical and spiking models: Pyro, GPyTorch, e3nn, snnTorch, diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.real.training import Line, Outcome, blobs, loop, training


@training("Pyro SVI with an encoder", "pyro")
def pyro_svi(line: Line) -> Outcome:
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, Trace_ELBO

    class Coder(nn.Module):
        def __init__(self, ins: int, outs: int) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(ins, 16), nn.Softplus(), nn.Linear(16, 16), nn.Softplus(), nn.Linear(16, outs)
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    pyro.clear_param_store()
    encoder, decoder = Coder(6, 4), Coder(2, 6)

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            mean, scale = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(mean, F.softplus(scale)).to_event(1))

    x = blobs(64, 6)[0]
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    line(encoder, blobs(64, 6, seed=1)[0])
    losses = [svi.step(x) for _ in range(20)]
    return Outcome(encoder, 20, lambda: encoder(x[:2]), losses, (decoder,))


@training("GPyTorch deep kernel", "gpytorch", argument="the feature extractor as model")
def deep_kernel(line: Line) -> Outcome:
    import gpytorch

    x = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
    y = x[:, 0] * x[:, 1]
    extractor = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))

    class DeepKernel(gpytorch.models.ExactGP):  # type: ignore[misc]
        def __init__(self, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.extractor, self.mean = extractor, gpytorch.means.ConstantMean()
            self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, x: Tensor) -> Any:
            z = self.extractor(x)
            return gpytorch.distributions.MultivariateNormal(self.mean(z), self.kernel(z))

    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    model = DeepKernel(likelihood).train()
    score = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    line(extractor, torch.randn(64, 4, generator=torch.Generator().manual_seed(1)))
    losses = loop(model, lambda: -score(model(x), y), 20, 1e-2)
    return Outcome(extractor, 20, lambda: extractor(x[:2]), losses, (model,))


@training("e3nn gated convolution", "e3nn")
def equivariant(line: Line) -> Outcome:
    from e3nn import o3
    from e3nn.nn import FullyConnectedNet

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.radial = FullyConnectedNet([3, 16, 16], torch.nn.functional.silu)
            self.linear = o3.Linear("16x0e", "4x0e")

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.linear(self.radial(x)))

    model, x = Net(), torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    line(model, torch.randn(64, 3, generator=torch.Generator().manual_seed(1)))
    return Outcome(model, 20, lambda: model(x[:2]), loop(model, lambda: model(x).square().mean(), 20))


@training("snnTorch with a ReLU readout", "snntorch")
def spiking(line: Line) -> Outcome:
    import snntorch

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.lif, self.fc2, self.out = (
                nn.Linear(12, 32),
                snntorch.Leaky(0.9),
                nn.Linear(32, 16),
                nn.Linear(16, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            memory, total = self.lif.init_leaky(), torch.zeros(len(x), 16)
            for _ in range(4):
                spikes, memory = self.lif(self.fc1(x), memory)
                total = total + self.fc2(spikes)
            return self.out(torch.relu(total))

    x, y = blobs(96, 12)
    model = Net()
    line(model, blobs(90, 12, seed=1))
    return Outcome(model, 20, lambda: model(x[:2]), loop(model, lambda: F.cross_entropy(model(x), y), 20))


@training(
    "diffusers U-Net with Accelerate", "diffusers", "accelerate", argument="data: (noisy images, timesteps)"
)
def diffusion(line: Line) -> Outcome:
    from accelerate import Accelerator
    from diffusers import DDPMScheduler, UNet2DModel

    from foldmon.integrations.accelerate import watch_accelerated

    accelerator = Accelerator(cpu=True)
    unet = UNet2DModel(
        8, 1, 1, block_out_channels=(16, 16), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
    model, optimizer = accelerator.prepare(unet, optimizer)
    noise, x = DDPMScheduler(100), torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    if line.on:
        times = torch.randint(100, (32,), generator=torch.Generator().manual_seed(1))
        line.monitor = watch_accelerated(accelerator, model, (x, times), exporters=[], pairs=8, points=9)
    losses = []
    for _ in range(12):
        clean, times = x[torch.randint(32, (8,))], torch.randint(100, (8,))
        added = torch.randn_like(clean)
        loss = F.mse_loss(model(noise.add_noise(clean, added, times), times, return_dict=False)[0], added)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return Outcome(unet, 12, lambda: unet(x[:2], torch.tensor([1, 2])), losses)
