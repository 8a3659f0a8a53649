"""Measurements of lambdad against the machine's own limits; `python -m benchmarks.invoke` runs them."""
