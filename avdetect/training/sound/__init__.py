"""An encoder of sound, trained on mixtures of labelled sounds."""
