"""Adapters to training frameworks, packaged as foldmon.integrations; importing this imports none."""
