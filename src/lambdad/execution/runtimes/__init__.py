"""How each runtime boots: the table of runtimes, interpreters and our own bootstraps."""
