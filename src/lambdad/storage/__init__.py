"""The only SQL: one engine seam, and one module per kind of record."""
