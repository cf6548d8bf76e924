"""Training of the audio-text alignment. Start with ``recipe.py``."""
