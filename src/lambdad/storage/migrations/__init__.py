"""Forward migrations, one module per schema version."""
