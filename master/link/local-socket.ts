// The master's own socket: a Unix socket that only its user can open, for the link of the node in the
// same process. It has no routes: every request that is no upgrade is turned away.
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";

export async function listenLocally(socketPath: string): Promise<Server> {
  // Left by a master that was killed: the data folder is locked, so nobody else listens there.
  rmSync(socketPath, { force: true });
  const server = createServer((_, response) => {
    response.statusCode = 404;
    response.end();
  });
  const bound = Promise.withResolvers<void>();
  server.once("error", bound.reject);
  // Made with the right mode, not changed to it: nobody can open it in between.
  const before = process.umask(0o177);
  try {
    server.listen(socketPath, bound.resolve);
  } finally {
    process.umask(before);
  }
  await bound.promise;
  server.removeListener("error", bound.reject);
  chmodSync(socketPath, 0o600);
  return server;
}
