"""Extensions of one environment: which there are (`found`), what they have told (`registry`), how they end
(`shutdown`). `session` is what one boot has of them, telemetry included.

Their HTTP API is in `runtime_api`, beside the runtime's, on the same listener.
"""
