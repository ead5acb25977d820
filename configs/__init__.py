"""Config files as package data, so that they are found wherever the tool is installed."""
