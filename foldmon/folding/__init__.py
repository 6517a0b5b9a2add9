"""The measure. It knows no threads, no exporter, no journal and no training loop.

Follow the data: ``data`` (held-out inputs, pairs) -> ``model`` (points on the paths, hooks) -> ``symbols``
(codes, distances) -> ``sampled``, ``exact``, ``auto`` (ways to walk a path) -> ``results`` (the report).
``undisturbed`` keeps the promise that all is left as it was; ``measuring`` holds ``foldmon.measure``.
"""
