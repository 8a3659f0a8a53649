"""SQS: durable queues on the same store and clock as the event queue."""
