"""Many live feeds in one process: start reading at ``engine``."""
