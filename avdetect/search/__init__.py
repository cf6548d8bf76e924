"""Where in many recordings something is heard: traces kept on disk, and questions asked of them."""
