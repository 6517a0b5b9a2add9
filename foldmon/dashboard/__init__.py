"""The Folding tab of TensorBoard."""
