// Attacks of functions on the worker that carries them and on the task that comes after them.
import { type Aftermath, type Attack, nodeFunction, python, pythonFunction } from "./attack.ts";

const frame = `
import os, struct
def put(data):
    for fd in range(3, 260):
        try:
            if "socket" in os.readlink("/proc/self/fd/%d" % fd): os.write(fd, data)
        except OSError: pass
`;
const failed = [
  "bad-result",
  "sandbox",
  "internal",
  "timeout",
  "signal",
  "exit-code",
  "lost",
] as const;
const toldNoSecret = ({ end, bait }: Aftermath) =>
  JSON.stringify(end).includes(bait.secret) ? "the result is the secret" : undefined;

const finder = (look: string) =>
  pythonFunction(`
import os, sys, threading, glob
def main():
${look.replaceAll(/^/gm, "    ")}
`);

export const workerAttacks: readonly Attack[] = [
  {
    name: "frame-garbage",
    does: "writes garbage into the worker's channel",
    ends: failed,
    run: pythonFunction(`${frame}
def main(): put(b"\\xff" * 65536); return 1`),
  },
  {
    name: "frame-gigabyte",
    does: "announces a frame of a gigabyte",
    ends: failed,
    run: pythonFunction(`${frame}
def main(): put(struct.pack("<I", 1 << 30) + b"x" * 100); return 1`),
  },
  {
    name: "frame-flood",
    does: "floods the worker's channel",
    ends: [...failed, "out-of-memory"],
    isBomb: true,
    timeoutMs: 3000,
    run: pythonFunction(`${frame}
def main():
    while True: put(struct.pack("<I", 60000) + b"x" * 60000)`),
  },
  {
    name: "frame-forged",
    does: "answers in the name of another call",
    ends: failed,
    run: pythonFunction(`${frame}
def main():
    text = b'{"done":[{"id":999,"ok":true,"result":"forged"}]}'
    put(struct.pack("<I", len(text)) + text); return 1`),
  },
  {
    name: "frame-twice",
    does: "answers twice",
    ends: [...failed, "succeeded"],
    run: pythonFunction(`${frame}
def main():
    text = b'{"done":[{"id":1,"ok":true,"result":"forged"}]}'
    put((struct.pack("<I", len(text)) + text) * 2); return 1`),
  },
  {
    name: "frame-hello",
    does: "says hello again, as another worker",
    ends: failed,
    run: pythonFunction(`${frame}
def main():
    text = b'{"hello":{"worker":1,"token":"x","runtime":"python","version":"1","pid":1}}'
    put(struct.pack("<I", len(text)) + text); return 1`),
  },
  {
    name: "channel-closed",
    does: "closes the worker's channel",
    ends: failed,
    run: pythonFunction(`
import os
def main():
    os.closerange(3, 300); return 1`),
  },
  {
    name: "exit-zero",
    does: "ends the process with code 0 before it returns",
    ends: ["bad-result"],
    run: pythonFunction(`
import os
def main(): os._exit(0)`),
  },
  {
    name: "exit-zero-node",
    does: "ends Node.js with code 0 before it returns",
    ends: ["bad-result"],
    run: nodeFunction("export function main() { process.reallyExit(0); }"),
  },
  {
    name: "never-returns",
    does: "never returns and holds the interpreter",
    ends: ["timeout"],
    timeoutMs: 700,
    run: pythonFunction(`
import signal
def main():
    for s in (15, 2, 1):
        signal.signal(s, signal.SIG_IGN)
    while True: pass`),
  },
  {
    name: "not-json",
    does: "returns what is no JSON",
    ends: ["bad-result"],
    run: pythonFunction("def main(): return {1j: object()}"),
  },
  {
    name: "deep-result",
    does: "returns a value nested without end",
    ends: ["bad-result", "out-of-memory"],
    run: pythonFunction("def main():\n    x = []\n    x.append(x)\n    return x"),
  },
  {
    name: "huge-result",
    does: "returns hundreds of megabytes",
    run: pythonFunction(`def main(): return "x" * (300 << 20)`),
  },
  {
    name: "stdlib-shadowed",
    does: "brings files named as modules of the runner",
    ends: ["succeeded"],
    files: [
      "json.py",
      "os.py",
      "sitecustomize.py",
      "usercustomize.py",
      "edgedag_worker.py",
      "values.py",
      "signal.py",
    ].map((path) => ({
      path,
      content: `print("BREACH ${path} was imported by the runner")\nraise SystemExit(9)\n`,
    })),
    run: { kind: "function", runtime: "python", code: "def main(): return 1", function: "main" },
  },
  {
    name: "package-shadowed",
    does: "brings a package.json and modules for the Node.js runner",
    files: [
      { path: "package.json", content: '{"type":"commonjs","imports":{"#x":"./x"}}' },
      { path: "node_modules/edgedag/index.js", content: 'console.log("BREACH imported")' },
    ],
    run: nodeFunction("export function main() { return 1; }"),
  },
  {
    name: "node-options",
    does: "finds the agent's NODE_OPTIONS in force",
    run: nodeFunction(
      `export function main() { if (globalThis.injected || (process.env.NODE_OPTIONS ?? "") !== "") console.log("BREACH NODE_OPTIONS"); return 1; }`,
    ),
  },
  {
    name: "python-path",
    does: "finds the agent's PYTHONPATH and PYTHONSTARTUP in force",
    run: pythonFunction(`
import os, sys
def main():
    if any("edgedag-evil" in p for p in sys.path): print("BREACH PYTHONPATH")
    return 1`),
  },
  {
    name: "left-file",
    does: "leaves files in /tmp, /dev/shm and the working folder for the next task",
    run: pythonFunction(`
def main():
    for p in ("/tmp/edgedag-left", "/dev/shm/edgedag-left", "left"):
        try: open(p, "w").write("x")
        except OSError as e: print(e)`),
    next: finder(`for p in ("/tmp/edgedag-left", "/dev/shm/edgedag-left", "left"):
    if os.path.exists(p): print("BREACH", p)
    try: os.unlink(p)
    except OSError: pass`),
    unclaimed: { subprocess: "/tmp and /dev/shm are the host's" },
  },
  {
    name: "left-module",
    does: "changes modules for the next task",
    run: pythonFunction(
      "import json, os\njson.poisoned = True\ndef main():\n    os.environ['POISONED'] = '1'",
    ),
    next: finder(`import json
if hasattr(json, "poisoned") or "POISONED" in os.environ: print("BREACH poisoned")`),
  },
  {
    name: "left-thread",
    does: "leaves a thread running for the next task",
    run: pythonFunction(
      "import threading, time\ndef main(): threading.Thread(target=time.sleep, args=(60,), name='left', daemon=True).start()",
    ),
    next: finder(`if any(t.name == "left" for t in threading.enumerate()): print("BREACH thread")`),
  },
  {
    name: "left-process",
    does: "leaves a process running for the next task",
    run: pythonFunction(`
import os, time
def main():
    if os.fork() == 0:
        os.setsid(); time.sleep(300)`),
    next: finder(`for pid in filter(str.isdigit, os.listdir("/proc")):
    try: 
        if open("/proc/%s/stat" % pid).read().split()[5] == pid and os.stat("/proc/" + pid).st_uid == os.getuid() and int(pid) not in (1, os.getpid(), os.getppid()): print("BREACH process", pid)
    except OSError: pass`),
  },
  {
    name: "left-global",
    does: "leaves values in Node.js for the next task",
    timeoutMs: 3000,
    run: nodeFunction(
      "export function main() { globalThis.left = 1; process.env.LEFT = '1'; Array.prototype.push = () => {}; }",
    ),
    next: nodeFunction(
      "export function main() { if (globalThis.left || process.env.LEFT) console.log('BREACH left'); const a = []; a.push(1); if (a.length !== 1) console.log('BREACH prototype'); }",
    ),
  },
  {
    name: "left-ipc",
    does: "leaves System V shared memory for the next task",
    run: python(`
libc = ctypes.CDLL(None); got = libc.shmget(0xed6f, 4096, 0o1666); print(got)`),
    next: python(`
libc = ctypes.CDLL(None); got = libc.shmget(0xed6f, 4096, 0o666)
if got >= 0: BREACH("segment %d" % got); libc.shmctl(got, 0, 0)`),
    unclaimed: { subprocess: "System V IPC is the host's" },
  },
  {
    name: "value-file-forged",
    does: "names a file of the agent as its large result",
    ends: failed,
    after: toldNoSecret,
    run: pythonFunction(`${frame}
def main():
    text = b'{"done":[{"id":1,"ok":true,"resultFile":"{CLOSED}/secret.json","sizeBytes":43}]}'
    put(struct.pack("<I", len(text)) + text)
    os._exit(0)`),
  },
  {
    name: "value-file-link",
    does: "puts a link to a file of the agent where its large result should be",
    ends: failed,
    after: toldNoSecret,
    run: pythonFunction(`${frame}
def main():
    link = os.environ["EDGEDAG_SHM"] + "/1-1.json"
    os.symlink("{CLOSED}/secret.json", link)
    text = b'{"done":[{"id":1,"ok":true,"resultFile":"%s","sizeBytes":43}]}' % link.encode()
    put(struct.pack("<I", len(text)) + text)
    os._exit(0)`),
  },
  {
    name: "frame-descriptors",
    does: "passes thousands of descriptors through the worker's channel",
    isBomb: true,
    timeoutMs: 3000,
    run: pythonFunction(`${frame}
import array, socket
def main():
    fds = array.array("i", [0] * 250)
    for fd in range(3, 260):
        try:
            if "socket" not in os.readlink("/proc/self/fd/%d" % fd): continue
        except OSError: continue
        channel = socket.socket(fileno=os.dup(fd))
        sent = 0
        try:
            for _ in range(2000):
                channel.sendmsg([b"x" if sent else struct.pack("<I", 60000)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                sent += 250
        except OSError as e: print(e, flush=True)
        print("sent", sent, flush=True)`),
  },
  {
    name: "worker-stopped",
    does: "stops the worker, so that nobody reads its channel",
    ends: ["timeout"],
    timeoutMs: 700,
    run: pythonFunction("import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGSTOP)"),
  },
];
