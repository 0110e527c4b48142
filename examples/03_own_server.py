"""Serve a program of your own beside model files: it is started when somebody asks, and let go like any model.

Needs nothing but Sizewise: the server below is the standard library's.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import Request, urlopen

import sizewise

SERVER = """
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"status": "ok"})

    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        self.answer({"sums": [sum(row) for row in rows]})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SPEC = """
models:
  sums:
    command: [{python}, server.py, "{{port}}"]
    ready: {{path: /healthz, timeout_s: 30}}
serving: {{port: 0, admin_port: 0}}
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sizewise-") as folder:
        Path(folder, "server.py").write_text(SERVER)
        Path(folder, "sizewise.yaml").write_text(SPEC.format(python=sys.executable))
        state = Path(folder, "state")
        up = [sys.executable, "-m", "sizewise", "up", str(Path(folder, "sizewise.yaml"))]
        subprocess.run([*up, "--state-dir", str(state), "--detach"], check=True)
        try:
            with sizewise.connect(state_dir=state) as system:
                # Below /models/sums every path and method is the program's own
                url = f"{system.status()['data_url']}/models/sums/add"
                with urlopen(Request(url, b'{"rows": [[1, 2], [3, 4]]}')) as answer:
                    sums = json.load(answer)["sums"]
                model = system.model("sums")
                print(f"answered {sums}; its start took {model['load_s']:.2f} s")
        finally:
            sizewise.down(state)
        assert sums == [3, 7]
        assert model["runtime"] == "command"


if __name__ == "__main__":
    main()
