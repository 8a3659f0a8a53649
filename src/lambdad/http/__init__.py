"""A small HTTP/1.1 server on httptools, for the front door and every Runtime API listener."""
