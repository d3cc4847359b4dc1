# The client against a scripted server: what is sent, what is tried again and for how long, what is
# raised. The real service has test_client_service.py.
import json
import os
import pathlib
import pickle
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from scripted_service import CUT, answer, refused, scripted  # noqa: E402

import edgedag  # noqa: E402
from edgedag import client  # noqa: E402

VIEW = {"id": "t1", "language": "commands", "priority": 5, "attempt": 1, "created_at": 1}
SUCCEEDED = dict(VIEW, state="succeeded", exit_code=0, stdout="hi\n", stderr="", files=[])
ACCEPTED = answer(202, {"tasks": [{"id": "t1", "state": "queued"}]})


def failed(error_class, reason, fault):
    error = {"class": error_class, "reason": reason, "fault": fault, "message": "it did"}
    return dict(VIEW, state="failed", error=error, stdout="", stderr="the last words\n", exit_code=3)


class Case(unittest.TestCase):
    def executor(self, *arguments, **options):
        executor = edgedag.Executor(*arguments, **options)
        self.addCleanup(executor.shutdown)
        return executor


class Importing(unittest.TestCase):
    def test_tasks_do_not_load_the_client(self):
        code = "import sys; from edgedag import *; print([m for m in sys.modules if 'client' in m])"
        out = subprocess.run([sys.executable, "-S", "-c", code], check=True, stdout=subprocess.PIPE)
        self.assertEqual(out.stdout.decode().strip(), "[]")

    def test_every_name_of_the_client_is_a_name_of_the_package(self):
        for name in client.__all__:
            self.assertIs(getattr(edgedag, name), getattr(client, name))
        with self.assertRaisesRegex(AttributeError, "Execution"):
            edgedag.Execution  # noqa: B018

    def test_the_classes_of_errors_are_a_hierarchy(self):
        for name in client.__all__:
            if name.endswith("Error"):
                self.assertTrue(issubclass(getattr(edgedag, name), edgedag.EdgedagError), name)


class Configuring(Case):
    def setUp(self):
        for name in ("EDGEDAG_MASTER", "EDGEDAG_API_KEY", "EDGEDAG_API_KEY_FILE"):
            os.environ.pop(name, None)
            self.addCleanup(os.environ.pop, name, None)

    def test_says_what_is_missing_or_wrong(self):
        with self.assertRaisesRegex(edgedag.ConfigurationError, "EDGEDAG_MASTER"):
            self.executor()
        for url in ("ftp://host", "http://", "http://host:port"):
            with self.assertRaises(edgedag.ConfigurationError):
                self.executor(url)
        os.environ["EDGEDAG_API_KEY_FILE"] = "/nowhere/key"
        with self.assertRaisesRegex(edgedag.ConfigurationError, "/nowhere/key"):
            self.executor("http://host")

    def test_url_and_key_come_from_the_environment_or_from_arguments(self):
        with scripted(*[answer(200, {})] * 4) as (url, asked):
            os.environ["EDGEDAG_MASTER"] = url.replace("http", "ws") + "/behind/a/proxy/"
            self.executor().statistics()
            os.environ["EDGEDAG_API_KEY"] = "of-the-environment"
            self.executor().statistics()
            with tempfile.NamedTemporaryFile("w") as file:
                file.write("of-the-file\n")
                file.flush()
                os.environ["EDGEDAG_API_KEY_FILE"] = file.name
                self.executor(url).statistics()
                self.executor(url, "of-the-caller").statistics()
        self.assertEqual(asked[0].path, "/behind/a/proxy/statistics")
        self.assertEqual(
            [one.headers["Authorization"] for one in asked],
            [None, "Bearer of-the-environment", "Bearer of-the-file", "Bearer of-the-caller"],
        )

    def test_a_service_that_cannot_be_trusted_is_not_asked_again(self):
        with tempfile.TemporaryDirectory() as folder:
            key, cert = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
            try:
                subprocess.run(
                    ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key,
                     "-out", cert, "-subj", "/CN=edgedag", "-addext", "subjectAltName=IP:127.0.0.1"],
                    check=True, stderr=subprocess.DEVNULL)
            except FileNotFoundError:
                self.skipTest("openssl is not installed")
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(cert, key)
            with scripted(answer(200, {"slots": 1}), tls=tls) as (url, _asked):
                self.assertEqual(self.executor(url, ca_file=cert).available_resources(), {"slots": 1})
                with self.assertRaisesRegex(edgedag.ServiceUnreachable, "CERTIFICATE_VERIFY_FAILED"):
                    self.executor(url).available_resources()
                with self.assertRaises(edgedag.ConfigurationError):
                    self.executor(url, ca_file=os.path.join(folder, "none.pem"))


class Retrying(Case):
    def test_a_submission_without_an_answer_is_sent_again_with_its_key(self):
        with scripted(CUT, refused(503, "Resource", "E_STORE_DOWN"), ACCEPTED) as (url, asked):
            handle = self.executor(url).submit("echo", ["hi"])
        self.assertEqual(handle.id, "t1")
        self.assertEqual([one.path for one in asked], ["/tasks"] * 3)
        keys = {one.headers["Idempotency-Key"] for one in asked}
        self.assertEqual(len(keys), 1)
        self.assertRegex(keys.pop(), "^[0-9a-f]{32}$")
        self.assertEqual(json.loads(asked[0].body), [{"command": "echo", "args": ["hi"]}])

    def test_each_submission_has_a_key_of_its_own(self):
        accepted = answer(202, {"task_id": "t1", "state": "queued"})
        with scripted(accepted, accepted) as (url, asked):
            executor = self.executor(url)
            executor.run_code("python", "1")
            executor.run_code("python", "1")
        self.assertNotEqual(asked[0].headers["Idempotency-Key"], asked[1].headers["Idempotency-Key"])

    def test_waits_for_as_long_as_the_service_asks(self):
        busy = refused(429, "Resource", "E_API_RATE", Retry_After="1")
        with scripted(busy, ACCEPTED) as (url, asked):
            began = time.monotonic()
            self.executor(url).submit("true")
            self.assertGreaterEqual(time.monotonic() - began, 1.0)
        self.assertEqual(len(asked), 2)

    def test_gives_up_after_retry_for_with_what_the_service_said(self):
        full = refused(503, "Resource", "E_QUEUE_FULL", Retry_After="1")
        with scripted(full) as (url, asked):
            with self.assertRaises(edgedag.ResourceError) as caught:
                self.executor(url, retry_for=0).submit("true")
        self.assertEqual(
            (caught.exception.code, caught.exception.status, caught.exception.remedy),
            ("E_QUEUE_FULL", 503, "Wait."),
        )
        self.assertEqual(str(caught.exception), "E_QUEUE_FULL: no: Wait.")
        self.assertEqual(len(asked), 1)

    def test_a_refusal_that_will_not_pass_is_raised_at_once(self):
        for status, error_class, expected in (
            (400, "Validation", edgedag.ValidationError),
            (401, "Security", edgedag.SecurityError),
            (404, "Resource", edgedag.ResourceError),
            (409, "Validation", edgedag.ValidationError),
            (500, "Execution", edgedag.ExecutionError),
        ):
            with scripted(refused(status, error_class, "E_X")) as (url, asked):
                with self.assertRaises(expected):
                    self.executor(url).submit("true")
                self.assertEqual(len(asked), 1)

    def test_a_service_that_is_away_is_told_of_with_its_address(self):
        with scripted() as (url, _asked):
            pass
        with self.assertRaisesRegex(edgedag.ServiceUnreachable, url + ".*refused.*healthz"):
            self.executor(url, retry_for=0.2).statistics()

    def test_an_answer_of_something_else_is_no_answer_of_the_service(self):
        page = b"<html>hello</html>"
        with scripted(answer(200, page), answer(404, page)) as (url, _asked):
            with self.assertRaisesRegex(edgedag.ServiceUnreachable, "without JSON.*another service"):
                self.executor(url).statistics()
            with self.assertRaisesRegex(edgedag.ValidationError, "status 404.*another service"):
                self.executor(url).statistics()

    def test_a_connection_is_used_again_and_one_that_was_ended_is_replaced(self):
        fine = answer(200, {})
        with scripted(fine, fine, CUT, fine) as (url, asked):
            executor = self.executor(url, retry_for=0)
            for _ in range(3):
                executor.statistics()
            self.assertEqual(len(asked), 4)
            self.assertEqual(len(executor._transport._idle), 1)
            executor.shutdown()
            self.assertEqual(executor._transport._idle, [])
            with self.assertRaisesRegex(RuntimeError, "shut down"):
                executor.statistics()

    def test_the_time_of_get_result_binds_its_retries(self):
        with scripted(*[refused(503, "Resource", "E_STORE_DOWN")] * 50) as (url, _asked):
            began = time.monotonic()
            with self.assertRaises(edgedag.ResourceError):
                self.executor(url).get_result("t1", timeout=0.3)
            self.assertLess(time.monotonic() - began, 20)


class Results(Case):
    def get(self, view):
        with scripted(answer(200, view)) as (url, asked):
            try:
                return self.executor(url).get_result("t1", timeout=10)
            finally:
                self.assertRegex(asked[0].path, r"^/tasks/t1\?wait=\d{4,5}ms$")

    def test_each_reason_of_a_failure_can_be_caught_by_its_class(self):
        for error_class, reason, fault, expected, others in (
            ("Execution", "exit-code", "task", edgedag.ExecutionError, edgedag.NodeFailedError),
            ("Timeout", "timeout", "limit", edgedag.TaskTimeoutError, edgedag.ExecutionError),
            ("Resource", "out-of-memory", "limit", edgedag.ResourceError, edgedag.ExecutionError),
            ("Execution", "lost", "platform", edgedag.NodeFailedError, edgedag.SandboxError),
            ("Sandbox", "sandbox", "platform", edgedag.SandboxError, edgedag.ResourceError),
            ("Execution", "internal", "agent", edgedag.NodeFailedError, edgedag.ExecutionError),
        ):
            with self.assertRaises(edgedag.TaskError) as caught:
                self.get(failed(error_class, reason, fault))
            error = caught.exception
            self.assertIsInstance(error, expected)
            self.assertNotIsInstance(error, others)
            self.assertIs(isinstance(error, edgedag.NodeFailedError), fault in ("platform", "agent"))
            self.assertEqual((error.reason, error.fault, error.exit_code), (reason, fault, 3))
            self.assertEqual(str(error), "task t1 failed: it did\nthe last words")
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), again.stderr), (type(error), "the last words\n"))

    def test_a_cancelled_task_is_no_failure(self):
        with self.assertRaisesRegex(edgedag.TaskCancelledError, "task t1 was cancelled"):
            self.get(dict(VIEW, state="cancelled", stdout="half"))

    def test_a_task_that_has_not_ended_in_time_is_a_timeout(self):
        with scripted(answer(200, dict(VIEW, state="running"))) as (url, asked):
            with self.assertRaises(TimeoutError):
                self.executor(url).get_result("t1", timeout=0)
        self.assertEqual(asked[0].path, "/tasks/t1")

    def test_a_result_that_is_known_is_not_asked_for_again(self):
        waited = answer(200, {"done": [SUCCEEDED], "pending": []})
        with scripted(ACCEPTED, waited) as (url, asked):
            executor = self.executor(url)
            handle = executor.submit("echo", ["hi"])
            self.assertEqual(executor.wait([handle]), ([handle], []))
            self.assertEqual(handle.result().stdout, "hi\n")
            self.assertTrue(handle.done())
        self.assertEqual(len(asked), 2)

    def test_many_handles_are_asked_for_in_parts(self):
        script = [answer(200, {"done": [], "pending": []})] * 2
        with scripted(*script) as (url, asked):
            executor = self.executor(url)
            handles = [executor.handle("t%d" % number) for number in range(1500)]
            done, pending = executor.wait(handles, timeout=0)
        self.assertEqual((done, pending), ([], handles))
        self.assertEqual([len(json.loads(one.body)["ids"]) for one in asked], [1000, 500])


class Streaming(Case):
    def test_a_stream_that_breaks_goes_on_where_it_broke(self):
        begun = b': hello\n\nid: 1.1\nevent: stdout\ndata: {"text":"a\\n"}\n\nid: 1.2\nevent: std'
        rest = b'id: 1.2\r\nevent: stderr\r\ndata: {"text":\r\ndata: "b"}\r\n\r\nid: 1.3\nevent: end\ndata: %s\n\n'
        events = {"Content_Type": "text/event-stream"}
        busy = refused(503, "Resource", "E_STORE_DOWN")
        script = (CUT, answer(200, begun, **events), busy, answer(200, rest % json.dumps(SUCCEEDED).encode(), **events))
        with scripted(*script) as (url, asked):
            handle = self.executor(url).handle("t1")
            seen = [(event.type, event.text) for event in handle.stream()]
            self.assertEqual(seen, [("stdout", "a\n"), ("stderr", "b"), ("end", "")])
            self.assertEqual(handle.result().stdout, "hi\n")
        self.assertEqual([one.headers["Last-Event-ID"] for one in asked], [None, None, "1.1", "1.1"])
        self.assertEqual([one.path for one in asked], ["/result/t1/stream"] * 4)

    def test_a_stream_that_stays_broken_is_told_of(self):
        with scripted(CUT) as (url, _asked):
            with self.assertRaisesRegex(edgedag.ServiceUnreachable, "the stream broke"):
                list(self.executor(url, retry_for=0).handle("t1").stream())
        with scripted(refused(404, "Resource", "E_SNIPPET_UNKNOWN")) as (url, _asked):
            with self.assertRaises(edgedag.ResourceError):
                list(self.executor(url).handle("t1").stream())


class Files(Case):
    def test_text_bytes_and_paths_are_sent_as_what_they_are(self):
        path = pathlib.Path(__file__)
        with scripted(ACCEPTED, answer(200, b"\x00\x01")) as (url, asked):
            executor = self.executor(url)
            files = {"a.txt": "ä", "b.bin": b"\x00", "d/c.py": path}
            handle = executor.submit("true", files=files, env={"A": "b"}, outputs=["*.bin"])
            self.assertEqual(executor.read_file(handle, "a b/é.bin"), b"\x00\x01")
        task = json.loads(asked[0].body)[0]
        self.assertEqual(task["files"]["a.txt"], "ä")
        self.assertEqual(task["files"]["b.bin"], {"base64": "AA=="})
        self.assertGreater(len(task["files"]["d/c.py"]["base64"]), 1000)
        self.assertEqual(sorted(task), ["command", "env", "files", "outputs"])
        self.assertEqual(asked[1].path, "/result/t1/files/a%20b/%C3%A9.bin")


if __name__ == "__main__":
    unittest.main()
