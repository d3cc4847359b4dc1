# Tries, as whoever runs it, to reach everything that it is told of: reads, writes, lists, connects,
# looks into processes. Prints what it could, as JSON.
import json
import os
import socket
import stat
import sys

with open(sys.argv[1]) as file:
    targets = json.load(file)
reached = []


def attempt(what, path, act):
    try:
        act()
    except OSError:
        return
    reached.append("%s %s" % (what, path))


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)


def peek(path):
    with open(path, "rb") as file:
        file.read(1)


def peek_process(path):
    with open(path, "rb") as file:
        # Of a process that has just ended everybody can open what is not there any more.
        if file.read(1) == b"":
            raise OSError("nothing")


for path in targets["paths"]:
    attempt("lists", path, lambda: os.listdir(path))
    attempt("reads", path, lambda: peek(path))
    attempt("writes", path, lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    attempt("connects to", path, lambda: connect(path))
    attempt("adds to", path, lambda: os.close(os.open(path + "/stranger", os.O_CREAT | os.O_WRONLY)))
for pid in targets["pids"]:
    folder = "/proc/%d" % pid
    for name in ("environ", "mem", "maps"):
        attempt("reads", "%s/%s" % (folder, name), lambda: peek_process("%s/%s" % (folder, name)))
    attempt("lists", folder + "/fd", lambda: os.listdir(folder + "/fd"))
    attempt("enters", folder + "/root", lambda: os.listdir(folder + "/root/"))
    attempt("signals", folder, lambda: os.kill(pid, 0))
print(json.dumps(reached))
