"""The method: what happens, in what order. One file per stage, one file per assembly of stages."""
