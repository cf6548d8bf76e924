"""Training of the audio-text alignment. Start with ``train_text.py``."""
