"""Who calls: signatures, keys, host names."""
