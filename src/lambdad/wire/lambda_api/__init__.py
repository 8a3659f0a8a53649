"""The Lambda API, one file per resource as in control."""
