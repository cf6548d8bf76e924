"""``python -m avdetect_cli``."""

from avdetect_cli.app import main

__all__ = ["main"]

main()
