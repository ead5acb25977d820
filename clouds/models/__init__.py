"""Adapters that put third-party models behind small protocols; they know no stage and no data set."""
