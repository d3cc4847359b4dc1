// Where RabbitMQ is, and how to log in there. User and password are kept where neither a log line
// nor an error can show them; what is shown is host, port and virtual host.
import type { Options } from "amqplib";
import type { Parsed } from "../../../../protocol/env-table.ts";

/** Seconds; two of them without a sign of life are a lost connection. The server may ask for less. */
const defaultHeartbeatS = 10;
const form = "it must be amqp://user:password@host:port/vhost, or amqps:// for TLS";

export class AmqpAddress {
  readonly shown: string;
  readonly #options: Options.Connect;

  private constructor(options: Options.Connect, shown: string) {
    this.#options = options;
    this.shown = shown;
  }

  /** Never repeats the text: it may hold a password. */
  static parse(text: string): Parsed<AmqpAddress> {
    if (!URL.canParse(text)) return { wrong: form };
    const url = new URL(text);
    const protocol = url.protocol.slice(0, -1);
    if ((protocol !== "amqp" && protocol !== "amqps") || url.hostname === "") {
      return { wrong: form };
    }
    const username = decoded(url.username);
    const password = decoded(url.password);
    const vhost = decoded(url.pathname.slice(1));
    if (username === undefined || password === undefined || vhost === undefined) {
      return { wrong: `${form}; a % in it is written %25` };
    }
    const heartbeatS = Number(url.searchParams.get("heartbeat") ?? defaultHeartbeatS);
    if (!Number.isInteger(heartbeatS) || heartbeatS < 1 || heartbeatS > 3600) {
      return { wrong: "its heartbeat must be a whole number of seconds from 1 to 3600" };
    }
    const port = Number(url.port) || (protocol === "amqp" ? 5672 : 5671);
    const options: Options.Connect = {
      protocol,
      hostname: url.hostname.replace(/^\[|\]$/g, ""),
      port,
      heartbeat: heartbeatS,
      // amqplib decodes it once more.
      vhost: url.pathname.slice(1),
      ...(username === "" && password === "" ? {} : { username, password }),
    };
    const place = vhost === "" || vhost === "/" ? "" : `/${vhost}`;
    return { value: new AmqpAddress(options, `${url.hostname}:${port}${place}`) };
  }

  /** With the password: for the connection only. */
  connectOptions(): Options.Connect {
    return { ...this.#options };
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
