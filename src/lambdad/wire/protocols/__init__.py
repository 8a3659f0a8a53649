"""AWS wire protocols, compiled from botocore's service models."""
