"""From samples to model inputs, from outputs to vectors, and the arithmetic of patches and time."""
