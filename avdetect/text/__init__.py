"""Questions in words: text -> phrases in order of time -> embeddings."""
