"""Search in many recordings: traces kept on disk, and questions asked of them."""
