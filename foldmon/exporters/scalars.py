"""Names: which number of a record goes under which tag."""

from __future__ import annotations

import re
from collections.abc import Sequence

from foldmon.exporters.base import Record

# What neither a tag of TensorBoard nor a metric of MLflow takes, and what could climb out of a folder.
_FORBIDDEN = re.compile(r"[^\w\-.:]+")
_LONGEST = 120


def layer_tags(layers: Sequence[str]) -> list[str]:
    """``NN.name`` for each layer, safe in tags and file names, in order of depth.

    Example:
        >>> layer_tags(["conv1.relu", "../up", "block/relu"])
        ['00.conv1.relu', '01._up', '02.block_relu']
    """
    width = max(2, len(str(max(len(layers) - 1, 0))))
    return [f"{place:0{width}d}.{safe_name(name)}" for place, name in enumerate(layers)]


def safe_name(name: str) -> str:
    """The name without what tags, metric names or file names do not take."""
    safe = _FORBIDDEN.sub("_", name.replace("..", "")).strip(".") or "_"
    return safe if len(safe) <= _LONGEST else f"{safe[: _LONGEST // 2]}~{safe[1 - _LONGEST // 2 :]}"


def scalars(record: Record) -> dict[str, float]:
    """Every number of a probe record, by tag (DESIGN names: ``folding/network``, ...).

    Args:
        record: of kind "probe".
    """
    low, high = record["phi_interval"]
    values: dict[str, float] = {
        "folding/network": record["phi"],
        "folding/nonzero_fraction": record["nonzero_fraction"],
        "folding/median_nonzero": record["phi_median_nonzero"],
        "folding_ci/network_lower": low,
        "folding_ci/network_upper": high,
    }
    tags = layer_tags(record["layers"])
    for group, key in (("layer", "folding"), ("cumulative", "cumulative")):
        values |= {f"folding/{group}/{tag}": value for tag, value in zip(tags, record[key], strict=True)}
    if (decision := record.get("decision")) is not None:
        values["folding/decision/changes"] = decision["changes"]
        values["folding/decision/elsewhere"] = decision["elsewhere"]
    values["folding/warning/level"] = record["warning"]["level"]
    monitor = record["monitor"]
    values["foldmon/overhead"] = monitor["overhead"]
    values["foldmon/probe_seconds"] = monitor["probe_seconds"]
    values["foldmon/skipped"] = monitor["skipped"]
    values |= {safe_tag(name): value for name, value in record["logged"].items()}
    return values


def safe_tag(name: str) -> str:
    """A user's own name as a tag; its slashes keep grouping."""
    return "/".join(safe_name(part) for part in name.split("/") if part) or "_"
