"""One module per file format: how it is recognised, and what is dangerous or damaged about it."""
