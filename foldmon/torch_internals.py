"""Everything foldmon takes from inside torch: names without a promise, which a new torch may move.

No other file says an underscored name of torch's, so that a new torch breaks this one alone. What is here
holds for torch 2.6 and later, as far as released when this was written; each entry says what it rests on.
"""

from __future__ import annotations

import sys
import types
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import _global_optimizer_post_hooks as _OPTIMIZER_HOOKS
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.hooks import RemovableHandle

__all__ = [
    "COMPILED_WRAPPER",
    "FUSED",
    "HOOKS",
    "NATIVE",
    "OF_EVERY_MODULE",
    "SWITCHES",
    "WRAPPED_BY_COMPILE",
    "OpOverload",
    "OpOverloadPacket",
    "RemovableHandle",
    "TorchDispatchMode",
    "buffers_of",
    "compiled_call",
    "copy_all",
    "default_store",
    "forward_hooks_of",
    "global_hooks",
    "has_forward_hooks",
    "has_own_iteration",
    "hear_optimizers",
    "in_backward",
    "is_compiled_call",
    "is_lazy",
    "is_loader_at_work",
    "is_part_of_dtensor",
    "is_reentrant_checkpoint",
    "is_under_vmap",
    "may_have_compiled",
    "pytree",
    "ranks_of_fsdp",
    "reshard_fsdp",
    "set_compiled_call",
    "set_version",
    "set_wrapped_call",
    "submodules_of",
    "tensors_of",
    "unhear_optimizers",
    "unseen",
    "version_of",
    "wrapped_call",
]

# Imported names. pytree: tree_flatten, tree_flatten_with_path, tree_unflatten, tree_map, tree_leaves; specs
# compare with ==. RemovableHandle: what registering a hook gives, with remove(). is_lazy: whether a tensor
# is a parameter or buffer that has no shape yet. TorchDispatchMode: sees
# every kernel that runs in a thread. OpOverload and OpOverloadPacket: the classes of
# torch.ops.aten.relu.default and torch.ops.aten.relu, whose text is "aten.relu.default", "aten.relu".

NATIVE: Any = torch._C._nn
"""Where torch.nn.functional takes its compiled functions from; a program may call them there."""

FUSED: Any = torch._VF
"""Where the recurrent layers take their kernels from."""

SWITCHES: Any = types.SimpleNamespace(set_grad_enabled=torch._C._set_grad_enabled)
"""What torch's own contexts call inside."""

unseen = torch._C.DisableTorchFunction
"""A context in which torch functions call no ``__torch_function__``, this thread's modes included."""

COMPILED_WRAPPER = "OptimizedModule"
"""Name of the class that torch.compile wraps a module in; importing it would import the compiler."""

WRAPPED_BY_COMPILE = "_orig_mod"
"""The submodule of the wrapper that is the user's module."""

HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
"""Attributes of a module that hold its hooks, dicts by the handles' numbers."""


OF_EVERY_MODULE = frozenset(vars(nn.Module()))
"""Attributes that torch itself keeps on every module."""


def version_of(tensor: Tensor) -> int | None:
    """How often the tensor was written to in place, as autograd counts; None where it does not count."""
    try:
        return tensor._version
    except RuntimeError:  # made in inference mode
        return None


def set_version(tensor: Tensor, version: int) -> None:
    """Let autograd believe that the tensor was not written to since its counter stood at ``version``.

    Right only where its values are those of that time too.
    """
    try:
        torch._C._autograd._unsafe_set_version_counter((tensor,), (version,))
    except TypeError:  # until torch 2.5 it took one tensor
        torch._C._autograd._unsafe_set_version_counter(tensor, version)  # type: ignore[arg-type]


def values_stored(tensor: Tensor) -> int:
    """How many values a sparse tensor stores."""
    return tensor._nnz()


def hear_optimizers(hook: Any) -> None:
    """Call ``hook(optimizer, args, kwargs)`` after each step of any optimizer of the process.

    Under one fixed key, which no handle's number is: it may be asked for by several threads at once.
    """
    _OPTIMIZER_HOOKS[-1] = hook


def unhear_optimizers() -> None:
    """Undo :func:`hear_optimizers`; an optimizer that steps meanwhile in another thread fails."""
    _OPTIMIZER_HOOKS.pop(-1, None)


def run_kernel(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a dispatch mode is asked to run, unseen by function modes: of traced code these see nothing."""
    if func is torch.ops.aten._local_scalar_dense.default and not isinstance(args[0], Tensor):
        return args[0]  # a number of traced code comes as it is, which the kernel does not take
    with unseen():
        return func(*args, **kwargs)


class Listener:
    """A hook of foldmon's around every module: it changes nothing, and is no reason to keep anything."""


def global_hooks() -> list[Any]:
    """The hooks of others that run around the forward of every module of the process."""
    home: Any = torch.nn.modules.module
    hooks = [*home._global_forward_pre_hooks.values(), *home._global_forward_hooks.values()]
    return [hook for hook in hooks if not isinstance(hook, Listener)]


def forward_hooks_of(module: nn.Module) -> tuple[dict[int, Any], ...]:
    """The module's own hooks around its forward."""
    return module._forward_pre_hooks, module._forward_hooks


def is_under_vmap(tensor: Tensor) -> bool:
    """Whether the tensor stands for many, of which none can be read (torch.func)."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def in_backward() -> bool:
    """Whether autograd runs a backward pass in this thread; it numbers its tasks, -1 is none."""
    return bool(torch._C._current_graph_task_id() != -1)


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy all sources into the targets in one multi-tensor call.

    Raises:
        RuntimeError: a target cannot be written to.
    """
    torch._foreach_copy_(targets, sources)


def may_have_compiled() -> bool:
    """Whether torch.compile can have been used in this process: torch imports its compiler at first use."""
    return "torch._dynamo" in sys.modules


def is_compiled_call(code: CodeType) -> bool:
    """Whether code is that by which a function under torch.compile is called, by its name and file."""
    names = (code.co_name, getattr(code, "co_qualname", "").partition(".")[0])
    at_home = code.co_filename.replace("\\", "/").endswith("_dynamo/eval_frame.py")
    return at_home and (names[0] == "compile_wrapper" or names[1] == "_TorchDynamoContext")


def compiled_call(module: nn.Module) -> Any:
    """What ``module.compile()`` left to be called in the module's place, None without."""
    return getattr(module, "_compiled_call_impl", None)


def set_compiled_call(module: nn.Module, call: Any) -> None:
    """Put back what :func:`compiled_call` gave, or None to run the module eagerly."""
    module._compiled_call_impl = call


def wrapped_call(module: nn.Module) -> Any:
    """What torch.compile's wrapper calls, None for other modules."""
    return vars(module).get("forward") if type(module).__name__ == COMPILED_WRAPPER else None


def set_wrapped_call(attributes: dict[str, Any], call: Any = None) -> None:
    """Put back what :func:`wrapped_call` gave, by the wrapper's attributes; None calls the module itself."""
    attributes["forward"] = attributes["_modules"][WRAPPED_BY_COMPILE] if call is None else call


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """The module's own buffers, the dict itself: what is written to it holds for the module."""
    return module._buffers


def submodules_of(module: nn.Module) -> dict[str, nn.Module | None]:
    """The dict of the module's own submodules, itself."""
    return module._modules


def tensors_of(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """The dicts of the module's own parameters and buffers, themselves."""
    return module._parameters, module._buffers


def own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The module's own parameters, without asking it.

    A layer of Keras's that is asked for them gets a new part by that, and its weights a second name.
    """
    return [parameter for parameter in module._parameters.values() if parameter is not None]


def has_weights(module: nn.Module) -> bool:
    """Whether a module, or one inside it, has parameters; none is asked."""
    return any(map(own_parameters, module.modules()))


def has_own_iteration(loader: DataLoader[Any]) -> bool:
    """Whether the loader's class makes batches in a way of its own, beside its data set and collate_fn."""
    kind, torchs = type(loader), DataLoader
    return kind.__iter__ is not torchs.__iter__ or kind._get_iterator is not torchs._get_iterator


def is_loader_at_work(value: Any) -> bool:
    """Whether this is what iterates a DataLoader: it has taken from a sampler what it will yield."""
    return isinstance(value, _BaseDataLoaderIter)


def has_forward_hooks(module: nn.Module) -> bool:
    """Whether hooks run around the module's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def default_store() -> Any:
    """The key-value store that the default process group was made with."""
    return torch.distributed.distributed_c10d._get_default_store()


def class_of_pipeline_stages() -> type | None:
    """The base class of stages of pipelines, None where no module that makes any was imported."""
    return getattr(sys.modules.get("torch.distributed.pipelining.stage"), "_PipelineStageBase", None)


def is_part_of_dtensor(parameter: Tensor) -> bool:
    """Whether torch put it in the place of a tensor parallel weight, for DistributedDataParallel."""
    return hasattr(parameter, "_st_info")


def ranks_of_fsdp(module: Any) -> tuple[int, ...]:
    """Global ranks of a FullyShardedDataParallel module: its group's, in a hybrid one those of all groups.

    The group over which a hybrid one replicates is kept on the module without a public name.
    """
    own = torch.distributed.get_process_group_ranks(module.process_group)
    across = getattr(module, "_inter_node_pg", None)
    if across is None:
        return tuple(own)
    # Blocks of ranks side by side, or every so many: either way all of them are these.
    return tuple(range(len(own) * across.size()))


def reshard_fsdp(module: Any) -> None:
    """Let a FullyShardedDataParallel root free the gathered weights, which it keeps for a backward pass."""
    handle = getattr(module, "_handle", None)
    if handle is not None and handle.uses_sharded_strategy:
        handle.reshard(True)
        handle._prefetched = False


def is_reentrant_checkpoint(code: CodeType) -> bool:
    """Whether code is the forward of torch.utils.checkpoint's reentrant kind, by its name and file."""
    return code.co_name == "forward" and code.co_filename.replace("\\", "/").endswith("utils/checkpoint.py")
