"""Bytes of audio files in, float32 samples out: mono or stereo, at the rates of the models."""
