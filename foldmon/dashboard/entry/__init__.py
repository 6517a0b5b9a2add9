"""What TensorBoard imports at its start: installed as the package ``foldmon_tensorboard``.

It stands outside of ``foldmon`` because an entry point that cannot be imported keeps TensorBoard from
starting, and importing anything of ``foldmon`` imports torch. Here a failure costs the Folding tab only.
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
            from foldmon.dashboard.plugin import FoldingPlugin

            return FoldingPlugin(context)
        except Exception as error:
            logger.warning("foldmon: no Folding tab: %s: %s", type(error).__name__, error)
            return None
