"""The monitor: steps come in, probes go out."""
