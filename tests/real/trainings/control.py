"""Reinforcement learning: a policy gradient by hand, Stable-Baselines3."""

from __future__ import annotations

import torch
from torch import nn

from tests.real.training import Line, Outcome, training


@training("policy gradient, CartPole", "gymnasium", argument="observations gathered beforehand")
def reinforce(line: Line) -> Outcome:
    import gymnasium

    game = gymnasium.make("CartPole-v1")
    policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    line(policy, torch.randn(128, 4, generator=torch.Generator().manual_seed(0)))
    losses = []
    for episode in range(20):
        state, _ = game.reset(seed=episode)
        chosen, rewards, over = [], [], False
        while not over and len(rewards) < 100:
            action = torch.distributions.Categorical(logits=policy(torch.as_tensor(state)))
            move = action.sample()
            state, reward, ended, cut, _ = game.step(int(move))
            chosen.append(action.log_prob(move))
            rewards.append(float(reward))
            over = ended or cut
        returns = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
        loss = -(torch.stack(chosen) * (returns - returns.mean())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Outcome(policy, 20, lambda: policy(torch.zeros(2, 4)), losses)


@training(
    "Stable-Baselines3 PPO", "stable_baselines3", "gymnasium",
    argument="model.policy, observations, forward=lambda p, x: p.get_distribution(x).distribution.logits",
)  # fmt: skip
def ppo(line: Line) -> Outcome:
    from stable_baselines3 import PPO

    agent = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, n_epochs=4, seed=1, device="cpu")
    seen = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))

    def logits(policy: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return policy.get_distribution(x).distribution.logits  # type: ignore[no-any-return, operator]

    line(agent.policy, seen, forward=logits)
    agent.learn(256)
    return Outcome(agent.policy, 4 * 4 * 2, lambda: logits(agent.policy, seen[:2]))
