// A port with TLS that is spoken to in plain HTTP says so, in HTTP, instead of hanging up: looks at the
// first byte of each connection before TLS does. A TLS connection begins with 0x16, a request with a letter.
import type { Server } from "node:https";
import type { Socket } from "node:net";

const tlsHandshake = 0x16;
/** A connection that says nothing is not kept. */
const firstByteMs = 10_000;

/** Gives a function that hangs up on those that have said nothing yet. */
export function answerPlain(server: Server): () => void {
  const silent = new Set<Socket>();
  const listeners = server.listeners("connection");
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    const give = (): void => {
      for (const listener of listeners) listener.call(server, socket);
    };
    const drop = (): void => {
      socket.destroy();
    };
    silent.add(socket);
    socket.once("close", () => silent.delete(socket));
    socket.setTimeout(firstByteMs, drop);
    socket.on("error", drop);
    socket.once("readable", () => {
      const first: Buffer | null = socket.read();
      if (first === null) return drop();
      silent.delete(socket);
      socket.setTimeout(0);
      socket.off("timeout", drop);
      if (first[0] !== tlsHandshake) return socket.end(answer(first));
      socket.unshift(first);
      socket.off("error", drop);
      give();
    });
  });
  return () => {
    for (const socket of silent) socket.destroy();
  };
}

function answer(first: Buffer): string {
  const isHttp = /^[A-Z]{3,7} /.test(first.toString("latin1", 0, 8));
  if (!isHttp) return "";
  const error = {
    class: "Validation",
    code: "E_API_TLS",
    message: "this port speaks TLS, and was spoken to in plain HTTP",
    remedy: "Use https:// (or wss://) in the address.",
  };
  const body = JSON.stringify({ error });
  return [
    "HTTP/1.1 426 Upgrade Required",
    "upgrade: TLS/1.2",
    "content-type: application/json; charset=utf-8",
    `content-length: ${body.length}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}
