"""Threads beside the one that watches: they train, feed a training, or run trials of their own."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import shuffle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import permutation
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks
from torch.utils.data import DataLoader, Dataset, TensorDataset

import foldmon
from foldmon.folding.data.pairs import draw_pairs
from foldmon.folding.undisturbed.random_state import drew, preserved_random_state, random_state
from foldmon.folding.undisturbed.threads import other_threads
from foldmon.sampling.steps import StepCounter
from tests.faults.twin import data, network
from tests.training_loop import train

NAMES_OF_ITS_OWN: dict[str, Any] = {"__name__": "script"}
exec(
    "def draw():\n    import random as r, numpy as n\n    r.random(), n.random.rand()\n"
    "def inside():\n    import random\n    return (lambda: random.random())()\n",
    NAMES_OF_ITS_OWN,
)


DRAW: dict[str, Callable[[], object]] = {
    "torch": lambda: torch.rand(3),
    "a kernel": lambda: nn.functional.dropout(torch.ones(8), 0.5),
    "python": lambda: random.random(),
    "numpy": lambda: np.random.rand(3),
    "a function of numpy": lambda: permutation(3),
    "a function of python": lambda: shuffle([1, 2, 3]),
    "names of its own": NAMES_OF_ITS_OWN["draw"],
    "a closure": NAMES_OF_ITS_OWN["inside"],
    "a seed": lambda: torch.manual_seed(3),
}


class Beside:
    """A thread that does what it is told, and waits in between."""

    def __init__(self) -> None:
        self._told: queue.Queue[Callable[[], object] | None] = queue.Queue()
        self._done: queue.Queue[None] = queue.Queue()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Callable[[Callable[[], object]], None]:
        self._thread.start()
        return self.do

    def do(self, what: Callable[[], object]) -> None:
        self._told.put(what)
        self._done.get(timeout=60)

    def _run(self) -> None:
        while (what := self._told.get()) is not None:
            what()
            self._done.put(None)

    def __exit__(self, *exception: object) -> None:
        self._told.put(None)
        self._thread.join()


def states() -> str:
    return repr((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()))


# Random numbers


@pytest.mark.parametrize("name", DRAW)
def test_what_another_thread_draws_meanwhile_is_drawn_once(name):
    after: list[str] = []
    with Beside() as beside:
        with preserved_random_state():
            before = random_state()
            beside(lambda: (DRAW[name](), after.append(states())))
            torch.ones(8).sum()
            assert not drew(before)
        assert [states()] == after


@pytest.mark.parametrize("name", DRAW)
def test_what_this_thread_draws_is_put_back_though_others_are_at_work(name):
    before = states()
    with Beside():
        with preserved_random_state():
            state = random_state()
            DRAW[name]()
            assert drew(state)
        assert states() == before


def test_a_profiler_of_the_users_goes_on():
    import cProfile

    before = states()
    profiler = cProfile.Profile()
    with Beside():
        with profiler, preserved_random_state():
            DRAW["torch"]()
            DRAW["numpy"]()
        assert states() == before
    assert len(profiler.getstats()) > 1


def trained_beside(watch: Callable[[], object]) -> list[float]:
    """Losses of a training with dropout in one thread, while another one watches a model of its own."""
    losses: list[float] = []
    began, ends = threading.Event(), threading.Event()

    def work() -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        while not ends.is_set() or len(losses) < 400:
            losses.extend(train(model, 1, optimizer))
            began.set()

    torch.manual_seed(3)
    thread = threading.Thread(target=work)
    thread.start()
    began.wait(60)
    watch()
    ends.set()
    thread.join()
    return losses


@pytest.mark.parametrize("background", [True, False])
def test_a_watch_in_one_thread_repeats_no_draw_of_a_training_in_another(background, tmp_path, caplog):
    held_out = DataLoader(TensorDataset(*data()), 8, shuffle=True)
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    options: dict[str, Any] = {"exporters": [], "log_dir": tmp_path, "background": background, "samples": 60}

    def watch() -> None:
        with foldmon.watch(model, held_out, **options) as monitor:
            monitor.probe()

    without, watched = trained_beside(lambda: None), trained_beside(watch)
    shorter = min(len(without), len(watched))
    assert without[:shorter] == watched[:shorter]
    assert "draws random numbers" not in caplog.text


class Noisy(Dataset[Any]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        return data()[0][index] + torch.randn(8) + random.random() + np.random.rand(), index % 3


def test_held_out_data_that_draw_are_read_alike_with_and_without_other_threads():
    before = states()
    alone = draw_pairs(Noisy(), 8, seed=4)
    with Beside():
        assert other_threads()
        together = draw_pairs(Noisy(), 8, seed=4)
    assert torch.equal(alone.first, together.first)
    assert states() == before


# Steps


def test_counters_come_and_go_in_mid_step_of_another_thread(mlp):
    """Torch goes through its dict of hooks while an optimizer steps, with Python code in between."""
    reached, go_on = threading.Event(), threading.Event()
    failed: list[Exception] = []

    def wait(steps: int) -> None:
        reached.set()
        go_on.wait(60)

    first = StepCounter(mlp, wait)
    another = _global_optimizer_post_hooks.setdefault(10**9, lambda *args: None)

    def step() -> None:
        try:
            train(mlp, 1)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    reached.wait(60)
    second = StepCounter(network(), lambda steps: None)
    second.close()
    first.close()
    go_on.set()
    thread.join()
    assert _global_optimizer_post_hooks.pop(10**9) is another
    assert not failed


def test_trials_in_several_threads_are_each_as_alone(tmp_path):
    rows = TensorDataset(*data())

    def trial(number: int, watched: bool) -> list[float]:
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
        with torch.no_grad():
            for place, weight in enumerate(model.parameters()):
                weight.copy_(torch.linspace(-0.3, 0.3, weight.numel()).sin().roll(7 * place).view_as(weight))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01 * (number + 1))
        inputs, labels = data()
        losses = []
        if watched:
            foldmon.watch(model, DataLoader(rows, 8), every=3, exporters=[], log_dir=tmp_path / str(number))
        for _ in range(20):
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    alone = [trial(number, watched=False) for number in range(6)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda number: trial(number, watched=True), range(6)))
    assert together == alone


# What is compiled


def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * torch.relu(x)


class Calls(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.linear, self.head = nn.Linear(8, 16), nn.Linear(16, 3)
        self.function = [function]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.function[0](self.linear(x))))


def test_a_thread_that_compiles_while_another_looks_a_model_over(tmp_path):
    """How functions under torch.compile run is said for the whole process."""
    compilations: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compilations.append(1)
        return graph.forward

    torch.compiler.reset()
    meanwhile = torch.compile(lambda x: x + 1, backend=backend)
    failed: list[Exception] = []

    def compiles() -> None:
        try:
            meanwhile(torch.ones(3))
        except Exception as error:
            failed.append(error)

    with Beside() as beside:

        class Waits(Calls):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                beside(compiles)
                return super().forward(x)

        model = Waits(doubled)
        with foldmon.watch(model, data(), exporters=[], log_dir=tmp_path) as monitor:
            assert monitor.probe().layers == ("/relu", "/tanh")
    assert not failed
    meanwhile(torch.ones(3))
    assert compilations, "it is compiled as soon as nothing looks on"


def test_watches_in_two_threads_leave_functions_compiled_as_they_were(tmp_path):
    torch.compiler.reset()
    compilations: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compilations.append(1)
        return graph.forward

    first, second = threading.Event(), threading.Event()

    class Waits(Calls):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first.set()
            assert second.wait(60)
            return super().forward(x)

    def watches() -> None:
        with foldmon.watch(Waits(doubled), data(), exporters=[], log_dir=tmp_path / "first"):
            pass

    thread = threading.Thread(target=watches)
    thread.start()
    assert first.wait(60)
    function = torch.compile(doubled, backend=backend)

    class Ends(Calls):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not second.is_set():
                second.set()
                thread.join()
            return super().forward(x)

    model = Ends(function)
    with foldmon.watch(model, data(), exporters=[], log_dir=tmp_path / "second") as monitor:
        assert monitor._subject.reason == "its forward pass calls functions under torch.compile"
        assert monitor.probe().layers == ("/relu", "/tanh")
    assert not compilations
    function(torch.ones(3))
    assert compilations == [1]


# What belongs to one thread alone


def test_what_a_model_holds_for_its_thread_is_put_back(tmp_path):
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.here = network(), threading.local()
            self.here.passes = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.here.passes += 1
            self.here.latest = x.mean()
            return self.net(x)

    model = Counts()
    with foldmon.watch(model, data(), exporters=[], log_dir=tmp_path) as monitor:
        monitor.probe()
        assert vars(model.here) == {"passes": 0}


TRACED = torch.jit.trace(lambda z: z + torch.tanh(3 * z), torch.zeros(2, 16), check_trace=False)


class Traced(nn.Module):
    """A number of traced code is a tensor to its kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.last(TRACED(self.first(x).relu()).relu())


def scripted():
    part = torch.jit.script(nn.Sequential(nn.Linear(8, 16), nn.ReLU()))
    return nn.Sequential(part, nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize("make", [Traced, scripted])
def test_of_compiled_parts_the_same_is_seen_whether_or_not_another_thread_is_at_work(make):
    model, pairs = make(), draw_pairs(data(), 8, seed=0)
    with Beside():
        assert other_threads()
        beside = foldmon.measure(model, pairs)
    alone = foldmon.measure(model, pairs)
    assert beside.layers == alone.layers
    np.testing.assert_array_equal(beside.r2, alone.r2)
