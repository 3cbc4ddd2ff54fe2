"""Bytes of audio files in, mono float32 samples at the rates of the models out."""
