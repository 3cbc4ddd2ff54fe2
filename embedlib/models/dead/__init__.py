"""Filters of a graph that give the same value whatever the input: find them, fold them away."""
