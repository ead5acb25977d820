"""Segmenters in the formats that others load them in: `clouds export CHECKPOINT --format hub | onnx | pt2`."""
