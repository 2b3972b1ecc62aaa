"""A small OpenAI-compatible server. Run: python stub_server.py PORT_FILE; behaves by the model's name."""

from __future__ import annotations

import json
import math
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPORT = {
    "observations": ["One person lies on the floor."],
    "title": "Person on the floor",
    "summary": "A person lies on the floor.",
    "narrative": "A person lies on the floor and does not move for 4 s.",
    "reason": "The torso is flat and still for 4 s.",
    "recommended_action": "Send somebody to look.",
}
CALLS: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"calls": CALLS})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        CALLS.append({"body": body, "key": self.headers.get("Authorization")})
        kind = body["model"]
        if kind.startswith("status-"):
            self._send(int(kind.removeprefix("status-")), {"error": {"message": "told to fail"}})
        elif kind == "hang":
            time.sleep(30)
        elif kind == "drop":
            self.close_connection = True
            self.connection.close()
        elif kind == "garbage":
            self._raw(200, b"<html>not json</html>", "text/html")
        elif kind == "wrong-shape":
            self._send(200, {"hello": "world"})
        elif kind == "no-schema" and "response_format" in body:
            self._send(400, {"error": {"message": "response_format is not supported"}})
        else:
            self._send(200, self._reply(kind, body))

    def _reply(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        scoring = bool(body.get("logprobs"))
        texts = {"empty": "", "truncated": '{"observations": ["a'}
        text = "yes" if scoring else texts.get(kind, json.dumps(REPORT))
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "length" if kind == "truncated" else "stop",
            "message": {"role": "assistant", "content": text},
        }
        if kind == "refusal" and not scoring:
            choice["message"] = {"role": "assistant", "content": None, "refusal": "I'm sorry, I cannot help."}
        if scoring and kind != "no-logprobs":
            tokens = {
                "only-yes": {"yes": 0.9, "maybe": 0.05},
                "neither": {"well": 0.8, "hm": 0.2},
            }.get(kind, {"yes": 0.5, " Yes": 0.2, "no": 0.1, "No": 0.05, "maybe": 0.15})
            listed = [{"token": key, "logprob": math.log(p), "bytes": None} for key, p in tokens.items()]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}], "refusal": None}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        head = {"id": "x", "object": "chat.completion", "created": 1, "model": kind}
        return {**head, "choices": [choice], "usage": usage}

    def _send(self, status: int, value: dict[str, Any]) -> None:
        self._raw(status, json.dumps(value).encode(), "application/json")

    def _raw(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Path(sys.argv[1]).write_text(str(server.server_address[1]))
    server.serve_forever()
