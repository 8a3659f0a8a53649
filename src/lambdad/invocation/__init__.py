"""One attempt of a function, the same for synchronous and asynchronous calls."""
