"""The trainings, a module for each field; importing this registers them all."""

from tests.real.trainings import control, frameworks, graphs, plain, science, tables, text, vision

__all__ = ["control", "frameworks", "graphs", "plain", "science", "tables", "text", "vision"]
