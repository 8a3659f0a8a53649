"""SNS: durable topics on the same store and clock as the event queue."""
