// Makes this process unreadable for other processes of its user: no core dump, no tracing, and its
// environment, memory and descriptors in /proc are root's. It may hold tokens and secrets, and tasks at
// level none run as the same user.

const setDumpable = 4;

/** False where this Node.js has no node:ffi, or the C library another name. */
export function keepMemoryPrivate(): boolean {
  try {
    const ffi = process.getBuiltinModule("node:ffi");
    const { functions } = ffi.dlopen("libc.so.6", {
      prctl: { arguments: ["i32", "u64", "u64", "u64", "u64"], return: "i32" },
    });
    return functions.prctl(setDumpable, 0n, 0n, 0n, 0n) === 0;
  } catch {
    return false;
  }
}
