"""Optional parts that need libraries of an extra. Nothing here imports one before it is used."""
