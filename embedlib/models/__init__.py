"""What is known of each model and head, where weights are, and what a graph file may hold."""
