"""From embeddings and video-level labels to a checkpoint (torch)."""
