"""A run as the views see it: read from its journal, kept small however long."""
