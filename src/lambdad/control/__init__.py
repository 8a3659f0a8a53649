"""Control plane: one module per resource."""
