"""Memory of passes: keeping it between them, and telling when there is too little."""

from __future__ import annotations

import os

import torch

from foldmon.folding.undisturbed import accelerator

# Of the largest activation of a pass; within four times as much is all that lives at once.
_TARGET_BYTES = {"cpu": 16 * 2**20}
_TARGET_BYTES_DEVICE = 256 * 2**20
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
    torch.empty(_LEARNT_BYTES, dtype=torch.uint8, device="cpu")


class TooLittleMemoryError(RuntimeError):
    """What is free on a device is left to training; a later measurement may find more."""


def most_rows(device: torch.device, bytes_a_row: int) -> int:
    """Rows of a pass that the memory target allows, and on a device a share of what is free now.

    Raises:
        TooLittleMemoryError: that share does not hold one row.
    """
    target, free = _TARGET_BYTES.get(device.type, _TARGET_BYTES_DEVICE), accelerator.free_bytes(device)
    if free is not None:
        target = min(target, int(accelerator.SHARE * free) // 4)
        if target < bytes_a_row:
            raise TooLittleMemoryError(
                f"{free / 2**20:,.0f} MiB are free on {device}, of which a probe takes at most "
                f"{accelerator.SHARE:.0%}, and one input needs about {4 * bytes_a_row / 2**20:,.0f} MiB"
            )
    return max(1, target // bytes_a_row)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that memory is short, on a GPU or on the CPU."""
    if accelerator.is_out_of_memory(error):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
