"""Published data sets, read as their archives unpack: a file of values for each, and one reader. It knows no stage."""
