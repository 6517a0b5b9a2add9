"""The record's schema: what one line of the journal holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
"""One line of the journal."""
