"""The Folding tab of TensorBoard. Its page is in ``views/static``."""
