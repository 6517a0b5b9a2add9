"""Encoder-decoder models of the transformers library that were given nothing for their decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from foldmon.folding.data.trees import batch_size, device_of_tree

_FOR_THE_DECODER = ("decoder_input_ids", "decoder_inputs_embeds", "labels")

FIRST_TOKEN = (
    "the inputs hold nothing for the decoder: it is given its start token, and its first token is read"
)


def ask_for_first_token(model: nn.Module, inputs: Any) -> Callable[[nn.Module, Any], Any] | None:
    """A way to call the model with the decoder's start token, None where that is no remedy.

    Args:
        model: that could not be called with the inputs.
        inputs: as given.
    """
    config = getattr(model, "config", None)
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(config, "pad_token_id", None)
    given = isinstance(inputs, dict) and any(name in inputs for name in _FOR_THE_DECODER)
    if not getattr(config, "is_encoder_decoder", False) or start is None or given:
        return None
    return lambda model, inputs: _call(model, inputs, int(start))


def _call(model: nn.Module, inputs: Any, start: int) -> Any:
    ids = torch.full((batch_size(inputs), 1), start, device=device_of_tree(inputs))
    if isinstance(inputs, dict):
        return model(**inputs, decoder_input_ids=ids)
    args = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return model(*args, decoder_input_ids=ids)
