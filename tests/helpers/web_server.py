"""A web server on this machine, for tests of downloads."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def serving(content: Callable[[str], bytes], requests: list[str]) -> Iterator[str]:
    """Serve what `content` gives for each path; yields the address, and notes the paths that were asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content(self.path))))
            self.end_headers()

        def do_GET(self) -> None:
            requests.append(self.path)
            self.do_HEAD()
            self.wfile.write(content(self.path))

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
