"""What all tests share: one thread, since sums depend on their number, and no network. Set before torch is imported."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
