"""What sounds alike: tables of neighbours derived from an output, and exports for other tools."""
