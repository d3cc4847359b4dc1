// Which URLs may be called back. A service that calls whatever its users name is a way into the
// network that it stands in: addresses of that network are refused unless the operator allows them.
import { BlockList, isIP } from "node:net";

/** `public`: addresses of the internet only. */
export type CallbackRule = "off" | "public" | "any";

const inner = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const) {
  inner.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  ["::", 127],
  ["64:ff9b::", 96],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const) {
  inner.addSubnet(network, prefix, "ipv6");
}

/** Also of an IPv4 address that is written as IPv6. */
export function isInnerAddress(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const plain = mapped ?? address;
  const family = isIP(plain);
  if (family === 0) return true;
  if (family === 6 && /^::ffff:/i.test(plain)) return true;
  return inner.check(plain, family === 6 ? "ipv6" : "ipv4");
}

/** Undefined: it may be called. What its name leads to is looked at again when it is called. */
export function callbackProblem(
  text: string,
  rule: CallbackRule,
): { message: string; remedy: string } | undefined {
  if (rule === "off") {
    return {
      message: "cannot be called: callbacks are switched off here",
      remedy: "Ask for the result, or have the operator set EDGEDAG_CALLBACKS.",
    };
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    return { message: "is no http or https URL", remedy: "Send a URL like https://host/path." };
  }
  if (rule === "any") return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isInner = isIP(host) === 0 ? isInnerName(host) : isInnerAddress(host);
  if (!isInner) return undefined;
  return {
    message: "leads into the service's own network",
    remedy: "Name a public host, or have the operator set EDGEDAG_CALLBACKS=any.",
  };
}

function isInnerName(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || !host.includes(".");
}
