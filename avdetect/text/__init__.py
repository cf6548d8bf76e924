"""What a user asks for in words: text -> phrases in order of time -> embeddings."""
