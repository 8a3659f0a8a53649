"""The Python runtime: loads the handler, takes invocations as frames, answers as awslambdaric does.

Runs inside the function's process on Python 3.8 and newer and imports nothing but the standard library, and of that
little more than awslambdaric: a user's own module of the same name as a loaded one would not be found.
"""
