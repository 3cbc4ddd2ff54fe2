"""Probes: how much of a task a small network reads off the embeddings, and how sure that is."""
