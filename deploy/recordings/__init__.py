"""`engram record`, `engram replay` and `engram recordings`: streams on disk, where they come from and where they go."""
