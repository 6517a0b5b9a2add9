"""Held-out inputs of every common shape, and the pairs that the paths join."""
