"""From predictions and labels to scores: what is counted of an image, and what a data set's counts add up to."""
