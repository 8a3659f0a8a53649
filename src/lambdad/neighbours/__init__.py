"""The services around Lambda that its flows need; no HTTP inside."""
