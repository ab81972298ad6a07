"""The real programs, with the commands, arguments and variables that the chart renders; no broker is there."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from chart import INSTALLATIONS, containers, render

BINARIES = Path(os.environ["EMBERLOG_BINARIES"])
TOKEN = "emb_of-the-tests"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def certify(folder):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=a server", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    subprocess.run(command, check=True, capture_output=True)


class Container:
    """A container's process on this machine: its folders and its port are others, its broker does not exist."""

    def __init__(self, container, folder):
        self.container = container
        self.folder = Path(folder)
        self.port = free_port()
        for name in ("data", "secondary", "kafka", "tokens", "tls"):
            (self.folder / name).mkdir()
        environment = {it["name"]: it["value"] for it in container["env"]}
        self.has_tokens = "EMBERLOG_TOKENS" in environment
        self.scheme = "https" if "EMBERLOG_TLS_CERT" in environment else "http"
        if self.has_tokens:
            digest = hashlib.sha256(TOKEN.encode()).hexdigest()
            (self.folder / "tokens" / Path(environment["EMBERLOG_TOKENS"]).name).write_text(f"a read sha256:{digest}\n")
        if self.scheme == "https":
            certify(self.folder / "tls")
        (self.folder / "kafka/client.properties").write_text("sasl.username=emberlog\nsasl.password=hunter2\n")
        shutil.copy(AUTHORITIES, self.folder / "kafka/ca.crt")

    def place(self, text):
        for ours, theirs in (
            ("/etc/emberlog/kafka", self.folder / "kafka"),
            ("/etc/emberlog/tokens", self.folder / "tokens"),
            ("/etc/emberlog/tls", self.folder / "tls"),
            ("=/data", f"={self.folder}/data"),
            ("=/secondary", f"={self.folder}/secondary"),
        ):
            text = text.replace(ours, str(theirs))
        return f"--listen=127.0.0.1:{self.port}" if text.startswith("--listen=") else text

    @contextlib.contextmanager
    def running(self):
        command = [str(BINARIES / self.container["command"][0]), *map(self.place, self.container["args"])]
        environment = {it["name"]: self.place(it["value"]) for it in self.container["env"]}
        if "EMBERLOG_KAFKA_BROKERS" in environment:
            environment["EMBERLOG_KAFKA_BROKERS"] = "127.0.0.1:1"
        # The working directory and nothing else of this process' environment, as in the image.
        self.output = open(self.folder / "output", "w+")
        process = subprocess.Popen(
            command, env=environment, cwd=self.folder, stdout=self.output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            self.output.close()

    def said(self):
        return (self.folder / "output").read_text()

    def get(self, path, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.scheme}://127.0.0.1:{self.port}{path}", headers=headers)
        trust = None
        if self.scheme == "https":
            trust = ssl.create_default_context(cafile=self.folder / "tls" / "tls.crt")
        try:
            with urllib.request.urlopen(request, timeout=5, context=trust) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def every_container():
    for file in INSTALLATIONS:
        for name, container in containers(render("--values", file)).items():
            yield file.name, name, container


class Start(unittest.TestCase):
    def test_the_programs_start_live_and_end_in_order(self):
        for file, name, container in every_container():
            if name == "init":
                continue
            with self.subTest(values=file, container=name), tempfile.TemporaryDirectory() as folder:
                self.lives(Container(container, folder))

    def lives(self, it):
        with it.running() as process:
            deadline = time.monotonic() + 30
            status = None
            while status is None:
                self.assertIsNone(process.poll(), it.said())
                self.assertLess(time.monotonic(), deadline, it.said())
                try:
                    status, _ = it.get(it.container["livenessProbe"]["httpGet"]["path"])
                except urllib.error.URLError:
                    time.sleep(0.05)
            self.assertEqual(status, 200)
            status, body = it.get("/health/ready")
            self.assertEqual(status, 503)
            self.assertTrue(any(c.get("reason") for c in json.loads(body)["conditions"]), body)
            self.assertEqual(it.get("/metrics", TOKEN)[0], 200)
            self.assertEqual(it.get("/metrics")[0], 401 if it.has_tokens else 200)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0, it.said())
        self.assertNotIn("hunter2", it.said())

    def test_init_takes_its_arguments_and_says_that_no_broker_is_there(self):
        for file, name, container in every_container():
            if name != "init":
                continue
            with self.subTest(values=file), tempfile.TemporaryDirectory() as folder:
                container["args"] = [a for a in container["args"] if "patience" not in a] + ["--patience=1s"]
                it = Container(container, folder)
                with it.running() as process:
                    # 2 is for what a command line cannot be.
                    self.assertEqual(process.wait(60), 1, it.said())
                self.assertIn("broker", it.said().lower())


if __name__ == "__main__":
    unittest.main()
