"""The model on the paths: what runs in it, where each layer holds the batch, and its values at any point."""
