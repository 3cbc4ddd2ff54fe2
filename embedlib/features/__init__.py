"""From waveform to model input: one file per front end; patches and the arithmetic of time."""
