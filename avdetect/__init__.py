"""Finds events in video with sound: a streaming audio-visual detector trained from video-level labels."""
