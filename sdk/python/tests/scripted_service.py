# A real HTTP server with scripted content: each request gets the next answer of the script, and is
# kept for the test to look at. For what a real service cannot be made to do at a given moment.
import http.server
import json
import threading
from contextlib import contextmanager

CUT = object()


class Asked:
    def __init__(self, method, path, headers, body):
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body


def answer(status, body, **headers):
    """`body`: JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, data, fields


def refused(status, error_class, code, **headers):
    error = {"class": error_class, "code": code, "message": "no", "remedy": "Wait."}
    return answer(status, {"error": error}, **headers)


@contextmanager
def scripted(*script, tls=None):
    """Gives the URL, and the list of what was asked. CUT ends the connection without an answer."""
    asked = []
    left = list(script)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(Asked(self.command, self.path, self.headers, body))
            step = left.pop(0)
            if step is CUT:
                self.close_connection = True
                return
            status, data, fields = step
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield "%s://127.0.0.1:%d" % ("http" if tls is None else "https", server.server_port), asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
