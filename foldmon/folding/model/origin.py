"""By which function predictions were made: a sigmoid's are probabilities, a linear map's are not."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from foldmon.folding.results.heads import Made
from foldmon.folding.symbols.functions import HOMES, as_function, spelled
from foldmon.torch_internals import unseen

_SIGMOIDS = ("sigmoid", "expit", "hardsigmoid")
_LINEAR = (
    "linear", "bilinear", "addmm", "matmul", "mm", "bmm", "baddbmm", "einsum", "conv1d", "conv2d", "conv3d",
)  # fmt: skip
# What leaves a probability one, and a number of any size as large.
_KEEPING = (
    "squeeze", "unsqueeze", "view", "reshape", "flatten", "unflatten", "ravel", "permute", "transpose",
    "movedim", "select", "narrow", "__getitem__", "clone", "contiguous", "detach", "to", "float", "double",
    "half", "bfloat16", "type", "type_as", "clamp", "clip", "nan_to_num", "cat", "stack",
)  # fmt: skip
_MADE: dict[Callable[..., Any], Made] = {
    **dict.fromkeys(spelled(_LINEAR, HOMES), "linear"),
    **dict.fromkeys(spelled(_SIGMOIDS, HOMES), "sigmoid"),
}
_KEPT = frozenset(spelled(_KEEPING))


class Origins(TorchFunctionMode):
    """Follows, within a ``with`` block, what sigmoids and linear maps put out.

    A function that is none of these, a TorchScript module or a kernel leaves its results without an origin.

    Example:
        >>> import torch
        >>> from foldmon.folding.model.origin import Origins
        >>> with Origins() as origins:
        ...     shares = torch.randn(4, 1).sigmoid().squeeze(1)
        ...     scores = torch.nn.functional.linear(shares[:, None], torch.ones(3, 1))
        >>> origins.of(shares), origins.of(scores), origins.of(1 - shares)
        ('sigmoid', 'linear', None)
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: MutableMapping[Tensor, Made] = WeakIdKeyDictionary()

    def of(self, tensor: Tensor) -> Made:
        """By what the tensor was made, as far as it is known."""
        return self._made.get(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            with unseen():
                self._note(as_function(func), args, result)
        return result

    def _note(self, function: Callable[..., Any], args: tuple[Any, ...], result: Tensor) -> None:
        made = _MADE.get(function)
        if made is None and function in _KEPT and args:
            first = args[0][0] if isinstance(args[0], tuple | list) and args[0] else args[0]
            made = self.of(first) if isinstance(first, Tensor) else None
        if made is None:
            self._made.pop(result, None)  # in place
        else:
            self._made[result] = made
