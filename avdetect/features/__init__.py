"""Snippets -> embeddings."""
