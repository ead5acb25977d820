"""Pure functions on tensors and arrays: no files, no config, nothing of the rest of the project."""
