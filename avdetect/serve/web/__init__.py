"""The page and the interface over HTTP: start reading at ``app``."""
