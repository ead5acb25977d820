"""Training a segmenter: which images are drawn, the schedule, the loop. It knows no stage and no order of stages."""
