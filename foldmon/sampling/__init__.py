"""When to measure, on which weights, in which thread, and with which other ranks."""
