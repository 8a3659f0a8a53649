"""Function URLs: plain HTTP requests that run a function."""
