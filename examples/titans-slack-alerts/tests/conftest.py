"""A web server on this machine in the place of Slack."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Webhook:
    """`answer` is the status it gives, or an event it waits for."""

    def __init__(self):
        self.received, self.answer = [], 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((self.headers["Content-Type"], json.loads(body)["text"]))
                if isinstance(outer.answer, threading.Event):
                    outer.answer.wait(30)
                    return
                self.send_response(outer.answer)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/secret"

    @property
    def texts(self):
        return [message for _, message in self.received]


@pytest.fixture
def webhook(monkeypatch):
    made = Webhook()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("EVENTS", "TIMEOUT", "QUIET"):
        monkeypatch.delenv(f"TITANS_SLACK_{name}", raising=False)
    monkeypatch.setenv("TITANS_SLACK_WEBHOOK", made.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    if isinstance(made.answer, threading.Event):
        made.answer.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()
