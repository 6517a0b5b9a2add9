"""Names: which number of a record goes under which tag."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from itertools import count

from foldmon.journal.plain import number
from foldmon.journal.schema import HeldOutEntry, ProbeRecord

# What neither a tag of TensorBoard nor a metric of MLflow takes, and what could climb out of a folder.
_FORBIDDEN = re.compile(r"[^\w\-.:]+")
_LONGEST = 120  # bytes: MLflow takes names of 250 characters, file systems of 255 bytes


def layer_tags(layers: Sequence[str]) -> list[str]:
    """``NN.name`` for each layer, safe in tags and file names, in order of depth.

    Example:
        >>> layer_tags(["conv1.relu", "../up", "block/relu"])
        ['00.conv1.relu', '01._up', '02.block_relu']
    """
    width = max(2, len(str(max(len(layers) - 1, 0))))
    return [f"{place:0{width}d}.{safe_name(name)}" for place, name in enumerate(layers)]


def safe_name(name: str) -> str:
    """The name without what tags, metric names or file names do not take, in at most 120 bytes."""
    safe = _FORBIDDEN.sub("_", name.replace("..", "")).strip(".") or "_"
    data = safe.encode()
    if len(data) <= _LONGEST:
        return safe
    half = _LONGEST // 2
    # A cut may fall inside a character, of which nothing is kept.
    head, tail = data[:half].decode(errors="ignore"), data[2 - half :].decode(errors="ignore")
    return f"{head}__{tail}".strip(".")


def scalars(record: ProbeRecord, layers: Container[str] | None = None) -> dict[str, float]:
    """Every number of a probe record, by tag: ``folding/network``, ``folding/layer/NN.name``, ...

    A number that was not finite, null in the journal, is NaN.

    Args:
        record: a sound one.
        layers: names of the layers to give; None gives all.
    """
    low, high = record["phi_interval"]
    values: dict[str, float | None] = {
        "folding/network": record["phi"],
        "folding/nonzero_fraction": record["nonzero_fraction"],
        "folding/median_nonzero": record["phi_median_nonzero"],
        "folding_ci/network_lower": low,
        "folding_ci/network_upper": high,
    }
    tags = zip(record["layers"], layer_tags(record["layers"]), strict=True)
    shown = [(place, tag) for place, (name, tag) in enumerate(tags) if layers is None or name in layers]
    for group, column in (("layer", record["folding"]), ("cumulative", record["cumulative"])):
        values |= {f"folding/{group}/{tag}": column[place] for place, tag in shown}
    if (decision := record["decision"]) is not None:
        values["folding/decision/changes"] = decision["changes"]
        values["folding/decision/elsewhere"] = decision["elsewhere"]
    values |= _held_out(record.get("held_out"))
    values["folding/warning/level"] = record["warning"]["level"]
    if (risk := record["warning"].get("score")) is not None:
        values["folding/warning/score"] = risk
    monitor = record["monitor"]
    values["foldmon/overhead"] = monitor["overhead"]
    values["foldmon/probe_seconds"] = monitor["probe_seconds"]
    values["foldmon/skipped"] = monitor["skipped"]
    for name, value in record["logged"].items():
        values[_unused(safe_tag(name), values)] = value
    return {tag: number(value) for tag, value in values.items()}


def _held_out(entry: HeldOutEntry | None) -> dict[str, float | None]:
    if entry is None:
        return {}
    values: dict[str, float | None] = {}
    for name, value, ends in (
        ("loss", entry["loss"], entry["loss_interval"]),
        ("accuracy", entry["accuracy"], entry["accuracy_interval"]),
    ):
        if value is not None and ends is not None:
            values[f"heldout/{name}"] = value
            values[f"heldout_ci/{name}_lower"], values[f"heldout_ci/{name}_upper"] = ends
    return values


def safe_tag(name: str) -> str:
    """A user's own name as a tag; its slashes keep grouping, where that leaves it short enough."""
    tag = "/".join(safe_name(part) for part in name.split("/") if part) or "_"
    return tag if len(tag.encode()) <= 2 * _LONGEST else safe_name(tag)


def _unused(tag: str, used: Container[str]) -> str:
    """The tag, with a number where another value has it already."""
    free = (tag if n == 1 else f"{tag}-{n}" for n in count(1))
    return next(candidate for candidate in free if candidate not in used)
