"""What TensorBoard imports at its start.

An entry point that cannot be imported keeps TensorBoard from starting: up to here nothing imports torch or
anything else that may be missing or broken. What fails later costs the Folding tab only.
"""

from __future__ import annotations

import logging

from tensorboard.plugins import base_plugin

logger = logging.getLogger("foldmon")


class FoldingLoader(base_plugin.TBLoader):  # type: ignore[misc]
    """Loads the Folding tab."""

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin | None:
        """The plugin; None, with a line in the log, where it cannot be made."""
        try:
            from foldmon.views.tensorboard.plugin import FoldingPlugin

            return FoldingPlugin(context)
        except Exception as error:
            logger.warning("foldmon: no Folding tab: %s: %s", type(error).__name__, error)
            return None
