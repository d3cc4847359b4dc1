// Whether signatures are looked at and receipts made at all: alone in a file, so that a node without
// them loads nothing else.
export interface GateConfig {
  node: string;
  trustedKeys: string;
  signatures: "auto" | "require" | "warn" | "off";
}

export function isGateOn({ trustedKeys, signatures }: GateConfig): boolean {
  return signatures === "auto" ? trustedKeys !== "" : signatures !== "off";
}

export function makesReceipts(config: {
  receipts: "auto" | "on" | "off";
  receiptKey: string;
}): boolean {
  return config.receipts === "auto" ? config.receiptKey !== "" : config.receipts === "on";
}
