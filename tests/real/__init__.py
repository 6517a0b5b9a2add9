"""Trainings from packages that people use; ``python -m tests.real`` runs them."""
