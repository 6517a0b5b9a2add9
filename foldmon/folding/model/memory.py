"""Memory of passes: keeping it between them, and telling when there is too little."""

from __future__ import annotations

import os

import torch

from foldmon.folding.undisturbed import accelerator

# glibc learns from freed blocks below 32 MiB.
_LEARNT_BYTES = 31 * 2**20


def keep_freed_memory() -> None:
    """Let the C library keep the memory of activations from pass to pass, on the CPU.

    glibc hands freed memory back to the kernel once it exceeds twice the largest block that was freed so
    far, and a pass that has to fetch its memory again, page by page, takes up to a fifth longer. One block
    of the largest size that counts, freed without being touched, is enough to learn from. Other C
    libraries learn nothing from it, which costs microseconds. What glibc learns holds for the whole process:
    with ``FOLDMON_KEEP_FREED_MEMORY=0`` in the environment it is taught nothing.
    """
    if os.environ.get("FOLDMON_KEEP_FREED_MEMORY", "").strip().lower() in ("0", "false", "no", "off"):
        return
    torch.empty(_LEARNT_BYTES, dtype=torch.uint8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that memory is short, on a GPU or on the CPU."""
    if accelerator.is_out_of_memory(error):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
