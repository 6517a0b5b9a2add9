"""The options of ``foldmon.watch``: one definition, and the sources they come from."""
