"""What people look at: tables, plots and pages, made from what is on disk only."""
