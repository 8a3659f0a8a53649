"""A small HTTP/1.1 server on httptools, for the front door and every Runtime API listener.

    server = HttpServer(application, HttpLimits())
    await server.start("127.0.0.1", 0)
    ...
    await server.stop(grace_s=10)

The application is asked once per head (`head`: refuse, or say how to take the body) and once per request (`handle`),
both as plain calls on the event loop; it answers through the `Exchange`, then or later.
"""

from lambdad.http.limits import NO_TIMEOUTS, HttpLimits
from lambdad.http.messages import BodyPolicy, BodySink, Request, Response, message_response
from lambdad.http.protocol import Application, Exchange, ResponseStream
from lambdad.http.server import HttpServer, HttpStatistics

__all__ = [
    "NO_TIMEOUTS",
    "Application",
    "BodyPolicy",
    "BodySink",
    "Exchange",
    "HttpLimits",
    "HttpServer",
    "HttpStatistics",
    "Request",
    "Response",
    "ResponseStream",
    "message_response",
]
