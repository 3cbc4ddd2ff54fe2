"""A graph and its node names become a callable on batches."""
