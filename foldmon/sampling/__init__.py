"""When to measure, on which weights, and in which thread."""
