"""The lambdad command, one module per command."""
