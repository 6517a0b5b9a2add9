"""Activation functions, their pieces, and the codes of inputs that follow."""
