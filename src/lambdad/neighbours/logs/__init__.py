"""CloudWatch Logs: the home of functions' logs, and the operations that read and manage them."""
