"""Adapters to training frameworks; importing this imports none.

A distribution has the adapters here; in a checkout they are in ``integrations/`` beside the package.
"""

from pathlib import Path

__path__ = [*__path__, str(Path(__file__).parents[2] / "integrations")]
