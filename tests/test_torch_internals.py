"""What foldmon takes from inside torch does what it says, and is taken in one place."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import foldmon
from foldmon import torch_internals

OF_MODULES = {*torch_internals.HOOKS, "_modules", "_parameters", "_buffers", "_compiled_call_impl"}


def _is_inside_torch(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(alias.name for alias in node.names)]
        return names[0].startswith("torch") and any("._" in f".{name}" for name in names)
    if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        of_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "other")
        return ast.unparse(node).startswith("torch.") or (node.attr in OF_MODULES and not of_self)
    return False


def test_no_other_file_names_what_is_inside_torch() -> None:
    package = Path(foldmon.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(map(_is_inside_torch, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == {"torch_internals.py"}


def test_a_backward_pass_is_told_from_a_forward_pass() -> None:
    seen = []
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda gradient: seen.append(torch_internals.in_backward()))
    (2 * x).sum().backward()
    assert seen == [True]
    assert not torch_internals.in_backward()


def test_a_tensor_under_vmap_is_told() -> None:
    seen = []

    def look(row: torch.Tensor) -> torch.Tensor:
        seen.append(torch_internals.is_under_vmap(row))
        return row

    torch.vmap(look)(torch.ones(3, 2))
    assert seen == [True]
    assert not torch_internals.is_under_vmap(torch.ones(2))


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_frame_of_a_reentrant_checkpoint_is_found(reentrant: bool) -> None:
    found = []

    def block(x: torch.Tensor) -> torch.Tensor:
        frame = sys._getframe()
        while frame is not None:
            found.append(torch_internals.is_reentrant_checkpoint(frame.f_code))
            frame = frame.f_back
        return x

    checkpoint(block, torch.ones(2, requires_grad=True), use_reentrant=reentrant)
    assert any(found) == reentrant


def test_the_dicts_of_a_module_are_the_modules_own() -> None:
    module = nn.BatchNorm1d(2)
    torch_internals.buffers_of(module)["running_mean"] = torch.tensor([3.0, 4.0])
    assert module.running_mean.tolist() == [3.0, 4.0]
    submodules = torch_internals.submodules_of(nn.Sequential(module))
    parameters, buffers = torch_internals.tensors_of(nn.Sequential(module))
    assert (list(submodules), list(parameters), list(buffers)) == (["0"], [], [])
    assert not torch_internals.has_forward_hooks(module)
    module.register_forward_hook(lambda *_: None)
    assert torch_internals.has_forward_hooks(module)


def test_hooks_are_where_a_module_keeps_them() -> None:
    assert all(name in vars(nn.ReLU()) for name in torch_internals.HOOKS)


class Doubles(nn.Module):
    """Something to compile."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("wrap", [False, True])
def test_a_compiled_module_runs_eagerly_and_gets_its_call_back(wrap: bool) -> None:
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        compiled.append(graph)
        return graph.forward

    module: nn.Module = Doubles()
    if wrap:
        module = torch.compile(module, backend=backend)
        call = torch_internals.wrapped_call(module)
        torch_internals.set_wrapped_call(vars(module))
    else:
        module.compile(backend=backend)
        call = torch_internals.compiled_call(module)
        torch_internals.set_compiled_call(module, None)
    assert call is not None
    assert torch_internals.may_have_compiled()
    assert module(torch.ones(2)).tolist() == [2, 2]
    assert not compiled
    if wrap:
        torch_internals.set_wrapped_call(vars(module), call)
    else:
        torch_internals.set_compiled_call(module, call)
    assert module(torch.ones(2)).tolist() == [2, 2]
    assert compiled


def test_all_tensors_are_copied_at_once_or_the_error_is_told() -> None:
    targets = [torch.zeros(2), torch.zeros(3)]
    torch_internals.copy_all(targets, [torch.ones(2), torch.arange(3.0)])
    assert [target.tolist() for target in targets] == [[1, 1], [0, 1, 2]]
    with pytest.raises(RuntimeError):
        torch_internals.copy_all([torch.zeros(1).expand(2)], [torch.ones(2)])
