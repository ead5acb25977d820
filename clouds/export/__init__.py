"""Takes what a run made away, in the formats other tools read. It does not know how it was made."""
