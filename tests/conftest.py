"""What all tests share."""

import os

# Before torch is imported: the networks here are too small for a second thread, which only gets in
# the way of tests that run beside. Programs that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
