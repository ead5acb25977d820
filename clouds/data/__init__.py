"""Data: label maps, data sets, transforms and the procedural world. It knows no stage, no model and no torch."""
