"""The journal: one JSON line a record, the queue that exporters, views and the warning read."""
