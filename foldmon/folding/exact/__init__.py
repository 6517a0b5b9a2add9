"""Folding of the continuous path: every symbol change is found."""
