"""The running machine: facts that are read of it, what is judged of them, and what mends it."""
