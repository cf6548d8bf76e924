"""Training: embeddings and video-level labels become a checkpoint (torch)."""
