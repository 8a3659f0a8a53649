"""The HTTP Runtime API towards functions, a file per route."""
