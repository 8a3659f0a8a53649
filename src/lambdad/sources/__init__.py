"""Event source mappings at run time: one poller for each, which calls the function with batches of records."""
