"""The ``foldmon`` command: one file a subcommand that is more than a call."""
