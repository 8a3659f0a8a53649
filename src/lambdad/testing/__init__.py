"""What users get for their tests."""
