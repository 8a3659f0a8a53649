"""Minimal servers that do as little as the machine allows: what a real server can at best come near to.

They check no signatures, keep no logs and know no functions. Each is a process of its own that prints
`port N` on its first line of output when it serves, and ends on SIGTERM together with its workers.
"""
