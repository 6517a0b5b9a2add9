"""Where the values go: each exporter reads the journal at its own pace."""
