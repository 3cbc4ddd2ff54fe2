"""What is known of each model, where its weights are, and what a graph file may hold."""
