# The client with a real service: EDGEDAG_TEST_SERVICE is its URL, EDGEDAG_TEST_KEYS are two API keys of
# it, separated by a space. Without them these tests are skipped; test/sdk/python-client.test.ts has them.
import os
import threading
import time
import unittest

import edgedag
from edgedag import Executor

SERVICE = os.environ.get("EDGEDAG_TEST_SERVICE")
KEYS = os.environ.get("EDGEDAG_TEST_KEYS", "").split()
PATIENCE = 60


@unittest.skipUnless(SERVICE, "EDGEDAG_TEST_SERVICE is not set")
class Service(unittest.TestCase):
    def setUp(self):
        self.executor = Executor(SERVICE, KEYS[0])
        self.addCleanup(self.executor.shutdown)

    def end(self, handle):
        return self.executor.get_result(handle, timeout=PATIENCE)

    def test_a_command_gets_what_it_is_given_and_its_end_comes_back(self):
        handle = self.executor.submit(
            "sh",
            ["-c", "cat; cat in/a.bin; echo $WHO >&2; printf '\\0\\1' > out.bin; echo '{\"n\":1}' > $EDGEDAG_RESULT"],
            env={"WHO": "world"},
            stdin="text\n",
            files={"in/a.bin": b"bytes\n"},
            outputs=["*.bin"],
            limits={"timeout": 30, "memory": "64Mi"},
            priority=7,
        )
        result = self.end(handle)
        self.assertEqual((result.state, result.exit_code), ("succeeded", 0))
        self.assertEqual((result.stdout, result.stderr), ("text\nbytes\n", "world\n"))
        self.assertEqual((result.value, result.files), ({"n": 1}, {"out.bin": 2}))
        self.assertEqual(self.executor.read_file(handle, "out.bin"), b"\0\1")
        self.assertGreater(result.usage["wall_ms"], 0)
        self.assertGreater(result.usage["peak_memory_bytes"], 0)
        self.assertEqual((result.isolation, result.view["priority"]), ("seccomp", 7))
        self.assertIsNotNone(result.node)

    def test_programs_in_several_languages(self):
        programs = {
            "python": "import sys\nprint(sys.stdin.read() + sys.argv[1])",
            "nodejs": "process.stdin.on('data', (d) => console.log(d + process.argv[2]))",
            "bash": "read x; echo $x$1",
        }
        handles = {
            language: self.executor.run_code(language, code, ["b"], stdin="a")
            for language, code in programs.items()
        }
        for language, handle in handles.items():
            self.assertEqual(self.end(handle).stdout, "ab\n", language)

    def test_failures_are_of_the_class_of_their_reason(self):
        for expected, reason, command, args, limits in (
            (edgedag.ExecutionError, "exit-code", "sh", ["-c", "echo no >&2; exit 3"], {}),
            (edgedag.TaskTimeoutError, "timeout", "sleep", ["60"], {"timeout": "300ms"}),
            (edgedag.ResourceError, "output-limit", "yes", [], {"output": "4Ki"}),
            (edgedag.ResourceError, "out-of-memory", "python3", ["-c", "x = 'x' * 10**9"], {"memory": "64Mi"}),
            (edgedag.NodeFailedError, "spawn", "no-such-program-here", [], {}),
        ):
            handle = self.executor.submit(command, args, limits=limits)
            with self.assertRaises(edgedag.TaskError) as caught:
                self.end(handle)
            self.assertIsInstance(caught.exception, expected)
            self.assertEqual(caught.exception.reason, reason)
            self.assertEqual(caught.exception.task_id, handle.id)
        handle = self.executor.run_code("python", "raise ValueError('the reason')")
        with self.assertRaisesRegex(edgedag.TaskError, "exit code 1\n(?s:.*)ValueError: the reason"):
            self.end(handle)

    def test_requests_that_are_not_valid_are_told_of_as_a_whole(self):
        with self.assertRaises(edgedag.ValidationError) as caught:
            self.executor.submit_many([{"command": ""}, {"command": "sudo"}, {"command": "true", "limit": {}}])
        self.assertEqual(
            [found["path"] for found in caught.exception.diagnostics],
            ["[0].command", "[1].command", "[2].limit"],
        )
        self.assertRegex(str(caught.exception), "Did you mean `limits`")
        with self.assertRaisesRegex(edgedag.ValidationError, "E_SNIPPET_LANGUAGE"):
            self.executor.run_code("cobol", "")
        with self.assertRaisesRegex(edgedag.ResourceError, "Insufficient resources"):
            self.executor.submit("true", limits={"cpus": 1000})

    def test_waiting_tells_done_from_pending(self):
        handles = self.executor.submit_many(
            [{"command": "sleep", "args": ["60"]}, {"command": "true"}, {"command": "false"}]
        )
        done, pending = self.executor.wait(handles, timeout=0)
        self.assertEqual(sorted(map(hash, done + pending)), sorted(map(hash, handles)))
        self.assertIn(handles[0], pending)
        done, pending = self.executor.wait(handles, timeout=PATIENCE, count=2)
        self.assertEqual((done, pending), (handles[1:], handles[:1]))
        began = time.monotonic()
        self.assertEqual(self.executor.wait(handles, timeout=0.2).pending, handles[:1])
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        with self.assertRaises(TimeoutError):
            handles[0].result(timeout=0.2)
        self.assertIn(handles[0].cancel(), ("running", "cancelled"))
        self.assertEqual(self.executor.wait(handles, timeout=PATIENCE), (handles, []))
        with self.assertRaises(edgedag.TaskCancelledError):
            handles[0].result()

    def test_output_is_seen_while_it_is_written(self):
        handle = self.executor.run_code("bash", "echo one; echo two >&2; sleep 60")
        seen = {"stdout": "", "stderr": ""}
        types = set()
        for event in self.executor.stream(handle):
            types.add(event.type)
            if event.type in seen:
                seen[event.type] += event.text
            # It writes, and sleeps: the stream must not wait for its end.
            if seen == {"stdout": "one\n", "stderr": "two\n"}:
                handle.cancel()
        self.assertEqual(seen, {"stdout": "one\n", "stderr": "two\n"})
        self.assertIn("state", types)
        with self.assertRaises(edgedag.TaskCancelledError) as caught:
            handle.result(timeout=0)
        self.assertEqual(caught.exception.result.stdout, "one\n")

    def test_one_executor_serves_many_threads(self):
        failures = []

        def work(number):
            try:
                for turn in range(5):
                    text = "%d/%d" % (number, turn)
                    if self.end(self.executor.submit("echo", [text])).stdout != text + "\n":
                        failures.append(text)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_a_fork_does_not_use_the_connections_of_its_parent(self):
        self.executor.statistics()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if self.end(self.executor.submit("echo", ["child"])).stdout == "child\n" else 2
            finally:
                os._exit(code)
        self.assertEqual(self.end(self.executor.submit("echo", ["parent"])).stdout, "parent\n")
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_the_same_key_of_idempotency_is_the_same_task(self):
        key = "order-%d" % time.time_ns()
        first = self.executor.submit("echo", ["once"], idempotency_key=key)
        self.assertEqual(self.executor.submit("echo", ["once"], idempotency_key=key), first)
        with self.assertRaisesRegex(edgedag.ValidationError, "E_SNIPPET_IDEMPOTENCY"):
            self.executor.submit("echo", ["other"], idempotency_key=key)

    def test_a_task_is_found_by_its_id_with_the_same_key_only(self):
        handle = self.executor.submit("echo", ["mine"])
        self.end(handle)
        self.assertEqual(self.executor.get_result(handle.id).stdout, "mine\n")
        with Executor(SERVICE, KEYS[1]) as other:
            with self.assertRaisesRegex(edgedag.ResourceError, "E_SNIPPET_UNKNOWN"):
                other.get_result(handle.id)
        os.environ.pop("EDGEDAG_API_KEY", None)
        for wrong in (None, "wrong-key"):
            with Executor(SERVICE, wrong) as nobody:
                with self.assertRaisesRegex(edgedag.SecurityError, "E_API_TOKEN"):
                    nobody.submit("true")

    def test_resources_and_figures(self):
        self.end(self.executor.submit("true"))
        resources = self.executor.available_resources()
        self.assertGreaterEqual(resources["slots"], resources["free_slots"])
        self.assertIn("python", resources["nodes"][0]["languages"])
        self.assertGreaterEqual(self.executor.statistics()["tasks"]["succeeded"], 1)
        self.assertGreaterEqual(self.executor.usage_history()[-1]["finished"], 1)


if __name__ == "__main__":
    unittest.main()
