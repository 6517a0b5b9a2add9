"""Run a model and leave it, and everything else of the user's, as it was."""
