"""Folding at equally spaced points of the paths."""
