"""echo: the bare HTTP echo. No worker, no function; the bound of any HTTP server in Python on this machine."""

from benchmarks.limits.serving import Front, run, serve


def echo(front: Front, _url: bytes, body: bytes) -> None:
    front.answer(body)


if __name__ == "__main__":
    run(lambda: serve(echo))
