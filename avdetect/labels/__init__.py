"""Lists of videos and what is known of them: their classes, and when events happen. Start with ``video_list.py``."""
