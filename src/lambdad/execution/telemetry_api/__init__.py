"""Telemetry of one environment for its extensions: records as they happen (`stream`), in the form that a
subscription wants (`records`), kept until a batch is worth sending (`buffer`), sent in order (`sender`).
"""
