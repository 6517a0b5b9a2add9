"""What reading the user's data moves is put back, wherever it is held."""

from __future__ import annotations

import ctypes
import functools
import io
import os
import random
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from foldmon.folding.undisturbed.put_back import CannotPutBackError, put_back

COUNT = 0
GENERATOR = np.random.default_rng(0)


class Slotted:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 1


class Counting:
    rng, calls = np.random.default_rng(1), 0

    def __getitem__(self, index: int) -> float:
        global COUNT
        COUNT += 1
        Counting.calls += 1
        return self.rng.random() + GENERATOR.random()


def test_generators_of_every_library_wherever_they_are_held() -> None:
    held = SimpleNamespace(
        a=torch.Generator(), b=[np.random.default_rng(2)], c={"x": (random.Random(3),)},
        d=np.random.RandomState(4), e=functools.partial(print, np.random.default_rng(5)),
    )  # fmt: skip

    def draw() -> list[float]:
        generator = held.e.args[0]
        drawn = [held.b[0].random(), held.c["x"][0].random(), held.d.rand(), generator.random()]
        return [*drawn, torch.rand(1, generator=held.a).item()]

    with put_back(held):
        first = draw()
    assert draw() == first


def test_variables_of_modules_classes_and_closures() -> None:
    own, calls, rng = Counting(), 0, random.Random(0)

    def collate() -> float:
        nonlocal calls
        calls += 1
        return rng.random()

    with put_back(own, collate):
        first = own[0], collate()
        assert (COUNT, Counting.calls, calls) == (1, 1, 1)
    assert (COUNT, Counting.calls, calls) == (0, 0, 0)
    with put_back(own, collate):
        assert (own[0], collate()) == first


def test_attributes_containers_arrays_and_what_was_opened(tmp_path: Path) -> None:
    held = SimpleNamespace(
        rows=[1, [2]], names={"a": 1}, seen={1}, last=deque([1]), tensor=torch.zeros(2), array=np.zeros(2),
        slotted=Slotted(),
    )  # fmt: skip
    before = str(held.__dict__ | {"slotted": 1})
    with put_back(held):
        held.rows[1].append(3)
        held.rows.pop(0)
        del held.names["a"]
        held.seen.add(2)
        held.last.extend("bc")
        held.tensor += torch.nan
        held.array[0] = 5
        held.slotted.value = 2
        held.file = (tmp_path / "rows").open("w")
    assert str(held.__dict__ | {"slotted": 1}) == before
    assert held.slotted.value == 1


def test_memory_of_other_makes_and_files_that_are_written(tmp_path: Path) -> None:
    log = (tmp_path / "log").open("w")
    held = SimpleNamespace(
        counts=array("i", [1]), shared=(ctypes.c_int * 2)(), text=io.StringIO("ab"), log=log,
        scratch=(tmp_path / "scratch").open("w+"), order=OrderedDict(a=1, b=2), raw=bytearray(b"ab"),
        objects=np.array([[1], {"a": 1}], dtype=object),
    )  # fmt: skip
    with put_back(held):
        held.counts.append(2)
        held.shared[1] = 5
        held.text.write("xyz")
        held.scratch.write("a row")
        log.write("a row of mine")
        held.order.move_to_end("a")
        held.raw.extend(b"c")
        held.objects[0].append(2)
        held.objects[1]["b"] = 2
    assert list(held.order) == ["a", "b"]
    assert held.raw == b"ab"
    assert held.objects.tolist() == [[1], {"a": 1}]
    assert held.counts == array("i", [1])
    assert list(held.shared) == [0, 0]
    assert held.text.getvalue() == "ab"
    assert held.text.tell() == 0
    assert held.scratch.read() == ""
    log.flush()
    assert (tmp_path / "log").read_text() == "a row of mine", "others may write to a log meanwhile"


def test_contents_stay_the_same_objects() -> None:
    rows = [object()]
    held = SimpleNamespace(rows=rows, first=rows[0])
    with put_back(held):
        held.rows = []
    assert held.rows is rows
    assert held.rows[0] is held.first


@pytest.mark.parametrize("taken", [0, 2, 5])
def test_iterators_yield_the_same_elements_again(taken: int) -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)

    held = SimpleNamespace(a=numbers(), b=iter([0, 1, 2, 3, 4]), c=[map(int, "01234")], d=zip(range(5)))
    inside = held.a

    def own() -> Any:
        return inside

    with put_back(held, own):
        for _ in range(taken):
            next(held.a), next(held.b), next(held.c[0]), next(held.d)
    assert own() is held.a
    if taken == 0:
        assert held.a.gi_frame is not None  # the generator itself
    assert list(held.a) == list(held.b) == list(held.c[0]) == [row for (row,) in held.d] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_files_are_where_they_were(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")
    with path.open(mode) as file:
        file.readline()
        with put_back(SimpleNamespace(file=file)):
            assert [len(line) for line in file] == [4, 6]
        assert len(file.readline()) == 4


def test_a_stream_that_cannot_be_rewound_is_refused() -> None:
    reader, writer = os.pipe()
    with (
        open(reader) as stream,
        open(writer, "w"),
        pytest.raises(CannotPutBackError, match="cannot be rewound"),
        put_back([stream]),
    ):
        pass


def test_an_error_in_the_block_is_no_reason_to_leave_anything() -> None:
    held: dict[str, int] = {}
    with pytest.raises(KeyError), put_back(held):
        held.setdefault("count", 1) + held["other"]
    assert held == {}
