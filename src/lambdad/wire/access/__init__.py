"""Who may call, and by which names: signatures, hosts, signed links."""
