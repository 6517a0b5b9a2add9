"""The options of ``foldmon.watch``: one definition, and the sources they come from."""

from foldmon.config.options import Config

__all__ = ["Config"]
