"""Readers of the labels of data sets, one module per layout."""
