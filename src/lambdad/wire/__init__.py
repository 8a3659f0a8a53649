"""HTTP in and out: routing, signatures, protocols, errors."""
