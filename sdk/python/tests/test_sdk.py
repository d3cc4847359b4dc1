# The Python SDK against the golden frames that every SDK must make, and against a real server.
# Run with the SDK on PYTHONPATH; EDGEDAG_TEST_STORE names the socket of a RESP server, and without
# it the tests that need one are skipped.
import json
import os
import pathlib
import socket
import sys
import tempfile
import threading
import unittest

import edgedag
from edgedag import errors

FIXTURE = pathlib.Path(__file__).parents[3] / "test/fixtures/wire/resp-sdk.ndjson"
NAMES = {"getJson": "get_json", "setJson": "set_json"}
STORE = os.environ.get("EDGEDAG_TEST_STORE")


def rows():
    return [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]


class GoldenFrames(unittest.TestCase):
    def test_commands_and_replies(self):
        path = os.path.join(tempfile.mkdtemp(), "s.sock")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        frames = rows()
        seen = []

        def serve():
            link, _ = server.accept()
            for row in frames:
                wanted = len(row["wire"].encode())
                got = b""
                while len(got) < wanted:
                    got += link.recv(wanted - len(got))
                seen.append(got)
                link.sendall(row["reply"].encode())
            link.close()

        thread = threading.Thread(target=serve)
        thread.start()
        os.environ["EDGEDAG_STORE"] = path
        try:
            for row in frames:
                call = getattr(edgedag.store, NAMES.get(row["call"], row["call"]))
                try:
                    value = call(*row["args"], **row["options"])
                except errors.StoreError as error:
                    value = {"$error": str(error)}
                if isinstance(value, set):
                    value = sorted(value)
                if isinstance(value, tuple):
                    value = list(value)
                self.assertEqual(value, row["value"], row["call"])
            thread.join()
            self.assertEqual(seen, [row["wire"].encode() for row in frames])
            with self.assertRaises(errors.StoreUnreachable):
                edgedag.store.get("x")
        finally:
            del os.environ["EDGEDAG_STORE"]
            server.close()


class OutsideOfRun(unittest.TestCase):
    def test_every_use_says_what_is_missing(self):
        for use in (
            lambda: edgedag.store.get("x"),
            lambda: edgedag.events.publish("c", 1),
            lambda: edgedag.needs["a"],
            lambda: edgedag.log.info("x"),
        ):
            with self.assertRaisesRegex(errors.OutsideOfRun, "outside of edgedag"):
                use()

    def test_importing_is_cheap(self):
        import subprocess

        heavy = "asyncio,typing,socket,ssl,urllib.parse,threading,logging"
        code = "import sys, edgedag; print([m for m in '%s'.split(',') if m in sys.modules])" % heavy
        out = subprocess.run(
            [sys.executable, "-S", "-c", code], check=True, stdout=subprocess.PIPE, env=dict(os.environ))
        self.assertEqual(out.stdout.decode().strip(), "[]")


@unittest.skipUnless(STORE, "EDGEDAG_TEST_STORE is not set")
class RealServer(unittest.TestCase):
    def setUp(self):
        os.environ.update(
            EDGEDAG_STORE=STORE or "", EDGEDAG_TASK="t[1]", EDGEDAG_ATTEMPT="2", EDGEDAG_RUN="r",
            EDGEDAG_INPUTS='{"params":{"p":1},"needs":{"a":{"outcome":"succeeded","result":[3]}},"item":9,"index":1}')

    def tearDown(self):
        for name in [name for name in os.environ if name.startswith("EDGEDAG_") and name != "EDGEDAG_TEST_STORE"]:
            del os.environ[name]

    def test_store_from_many_threads(self):
        edgedag.store.delete("n")
        threads = [
            threading.Thread(target=lambda: [edgedag.store.incr("n") for _ in range(50)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(edgedag.store.get("n"), "400")
        edgedag.store.set_json("j", {"é": [None, 1.5]}, ttl=60)
        self.assertEqual(edgedag.store.get_json("j"), {"é": [None, 1.5]})
        self.assertIsNone(edgedag.store.blpop("none", timeout=0.01))
        with self.assertRaises(errors.StoreError):
            edgedag.store.execute("NOSUCHCOMMAND")

    def test_inputs(self):
        self.assertEqual(edgedag.needs["a"]["result"], [3])
        self.assertEqual(dict(edgedag.params), {"p": 1})
        self.assertEqual((edgedag.item(), edgedag.index()), (9, 1))
        self.assertEqual((edgedag.task.key, edgedag.task.attempt, edgedag.task.run), ("t[1]", 2, "r"))
        with self.assertRaisesRegex(KeyError, "needs has no `b`; it has a"):
            edgedag.needs["b"]

    def test_events_and_reports(self):
        channels = ("x", "edgedag.log", "edgedag.progress", "edgedag.artifact")
        with edgedag.events.subscribe(*channels) as subscription:
            self.assertEqual(edgedag.events.publish("x", {"a": 1}), 1)
            edgedag.log.warn("careful", file="a.csv")
            edgedag.progress(0.5, "half")
            edgedag.artifact(__file__, "me")
            found = {event.channel: event.data for event in (subscription.next(5) for _ in channels)}
        who = {"task": "t[1]", "attempt": 2}
        self.assertEqual(found["x"], {"a": 1})
        line = {"level": "warn", "text": "careful", "fields": {"file": "a.csv"}}
        self.assertEqual(found["edgedag.log"], {**who, **line})
        self.assertEqual(found["edgedag.progress"], {**who, "fraction": 0.5, "text": "half"})
        self.assertEqual(found["edgedag.artifact"], {**who, "name": "me", "path": __file__})
        with self.assertRaises(errors.WaitTimeout):
            edgedag.events.wait("never", timeout=0.02)


if __name__ == "__main__":
    unittest.main()
