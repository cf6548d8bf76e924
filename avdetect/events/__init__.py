"""Scores of snippets, and the events they amount to."""
