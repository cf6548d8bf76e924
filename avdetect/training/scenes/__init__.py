"""Audio-visual scenes composed from short clips and single sounds, with everything that happens in them known."""
