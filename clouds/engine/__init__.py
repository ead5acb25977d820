"""How work is planned, run, recorded and resumed. It knows no model, no data set and no order of stages."""
