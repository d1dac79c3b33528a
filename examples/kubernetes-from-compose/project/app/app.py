"""The guestbook: a page, and a migration. It needs nothing but Python."""

import http.server
import os
import signal
import socket
import sys

TITLE = "Guestbook"


def redis(*words):
    """Send one command to Redis and return its answer (RESP 2), or None."""
    host, _, port = os.environ.get("REDIS", "redis:6379").partition(":")
    text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (w.encode() for w in words))
    with socket.create_connection((host, int(port or 6379)), timeout=2) as s:
        s.sendall(text)
        answer = s.makefile("rb")
        line = answer.readline().rstrip()
        if line[:1] == b"$":
            return None if line == b"$-1" else answer.read(int(line[1:])).decode()
        if line[:1] == b"-":
            raise OSError(line[1:].decode())
        return line[1:].decode()


def page():
    try:
        guests = redis("INCR", "guests")
        book = redis("GET", "book") or "a book nobody has prepared (the migration has not run)"
    except OSError as err:
        guests, book = "?", f"no book: {err}"
    secret = "a secret is set" if os.environ.get("SECRET_WORD") else "no secret"
    return "\n".join([
        TITLE, f"version {os.environ.get('VERSION', '0')}", f"pod {socket.gethostname()}",
        os.environ.get("GREETING", "no greeting"), secret, f"guest number {guests}", book, ""])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {"/healthz": lambda: "ok\n", "/version": lambda: os.environ.get("VERSION", "0") + "\n"}
        body = answers.get(self.path, page)().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    if sys.argv[1:] == ["migrate"]:
        redis("SET", "book", "a book with a hundred empty pages")
        print("migrated")
        return
    if os.environ.get("VERSION") == "broken":
        sys.exit("this version is broken")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()


if __name__ == "__main__":
    main()
