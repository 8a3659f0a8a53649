"""CloudWatch metrics: what functions did, and what clients put."""
