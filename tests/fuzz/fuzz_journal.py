"""Coverage-guided fuzzing of everything that reads a journal or makes a name.

Not part of the test suite. Needs ``atheris`` (``pip install atheris``); run for a while with

    python tests/fuzz/fuzz_journal.py -max_total_time=300 -max_len=4096 corpus/

A found case belongs into ``tests/journal/test_untrusted.py``.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["foldmon.exporters", "foldmon.journal"]):
    from foldmon.exporters.console import probe_line
    from foldmon.exporters.mlflow import _metrics, metric_name
    from foldmon.exporters.scalars import (
        layer_tags,
        safe_name,
        safe_tag,
        scalars,
    )
    from foldmon.exporters.tensorboard import TensorBoardExporter
    from foldmon.journal.check import flaw
    from foldmon.journal.following import parsed, read_journal
    from foldmon.journal.writing import JSONLExporter

from mlflow.utils.validation import _validate_metric_name

from tests.exporters.examples import probe, start

FOLDER = Path(tempfile.mkdtemp())


def check_name(name: str) -> None:
    safe = safe_name(name)
    assert "/" not in safe
    assert ".." not in safe
    assert safe not in ("", ".")
    assert safe.isprintable()
    assert len(safe.encode()) <= 120
    tag = safe_tag(name)
    assert len(tag.encode()) <= 240
    assert not tag.startswith("/")
    _validate_metric_name(metric_name(tag))
    tags = layer_tags([name, name + "/", "." + name])
    assert len(set(tags)) == 3


def check_line(line: bytes) -> None:
    record, cause = parsed(line)
    assert (record is None) == bool(cause)
    if record is None or flaw(record) is not None:
        return
    if record["kind"] == "probe":
        for tag in scalars(record):
            _validate_metric_name(metric_name(tag))
        probe_line(record)
        list(_metrics(record, record["layers"]))
        exporter = TensorBoardExporter(FOLDER)
        exporter.write([record])
        exporter.close()
        for file in exporter.folder.iterdir():
            file.unlink()


def check_file(data: bytes) -> None:
    path = FOLDER / "journal.jsonl"
    path.write_bytes(data)
    before = read_journal(path)
    journal = JSONLExporter(path)
    journal.write([{"kind": "end"}])
    journal.close()
    after = read_journal(path)
    assert len(after) in (len(before) + 1, len(before) + 2)
    assert after[-1]["kind"] == "end"
    assert isinstance(after[-1]["seq"], int)


def mutated(provider: atheris.FuzzedDataProvider) -> bytes:
    """A whole record with one value replaced, however deep."""
    event = {"step": 1, "severity": 1, "reasons": ["a"]}
    record = provider.PickValueInList([probe(3, event=event), start()])
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        part = record
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not keys:
                break
            key = provider.PickValueInList(keys)
            if isinstance(part[key], dict | list) and provider.ConsumeBool():
                part = part[key]
                continue
            part[key] = odd_value(provider)
            break
    return json.dumps(record).encode()


def odd_value(provider: atheris.FuzzedDataProvider) -> object:
    return provider.PickValueInList(
        [
            None, True, [], {}, [[]], {"a": 1}, -1, 0, 2**63, 2**64, -(2**80), 10**400, 1e308, 1e-320,
            float("nan"), float("inf"), provider.ConsumeUnicode(40), provider.ConsumeFloat(),
            provider.ConsumeInt(8), [provider.ConsumeFloat()], {provider.ConsumeUnicode(10): 1.5},
        ]
    )  # fmt: skip


def test_one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    choice = provider.ConsumeIntInRange(0, 3)
    if choice == 0:
        check_name(provider.ConsumeUnicode(provider.remaining_bytes()))
    elif choice == 1:
        check_line(provider.ConsumeBytes(provider.remaining_bytes()))
    elif choice == 2:
        check_line(mutated(provider))
    else:
        check_file(provider.ConsumeBytes(provider.remaining_bytes()))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
