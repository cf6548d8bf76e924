"""The networks (torch)."""
