"""Delta tables of embeddings: parts, commits, readers and the checks on what lies in an output."""
