"""One file per model family: specs, and where it can be, the graph with random weights."""
