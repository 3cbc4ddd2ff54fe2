"""The scheduler, the workers, and the drivers that bring them together."""
