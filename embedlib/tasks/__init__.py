"""Downstream tasks: what is to be told apart, where labels come from, and what is known of it."""
