"""What is known of videos: which classes they hold, and when. Start with ``manifest.py``."""
