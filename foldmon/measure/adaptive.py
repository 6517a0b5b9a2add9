"""Adaptive folding of networks that are not linear in pieces: refine where the code changes."""

from __future__ import annotations

import numpy as np
import torch

from foldmon.measure.activations import Reading
from foldmon.measure.codes import Code, encode, hamming
from foldmon.measure.prober import Prober
