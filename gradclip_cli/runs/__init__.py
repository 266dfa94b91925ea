"""Runs: their directories (every file name and column), one run, many runs, workers, a cluster, how long they take."""
