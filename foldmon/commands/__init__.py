"""Subcommands of the ``foldmon`` command that are more than a call."""
