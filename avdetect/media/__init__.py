"""Bytes to timestamped pictures and sound."""
