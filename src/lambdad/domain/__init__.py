"""Values and rules of Lambda: no input or output, no clock, no waiting."""
