"""CLOUDS: foundation models that teach a segmenter to work where no label was ever seen.

The means only: how each thing is done. What happens in what order stands in the package `pipelines`.
"""

__version__ = "0.1.0"
