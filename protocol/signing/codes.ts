// Every code of a diagnostic about signatures and receipts, with one sentence each; docs/signing.md
// prints this list. A refused run carries its code to the master.
import type { Diagnostic } from "../diagnostic.ts";

export const signingCodes = {
  E_SIGNATURE_MISSING: "The artifact is not signed, and only signed ones are run here.",
  E_SIGNATURE_FORM: "A signature, or the artifact around it, is not written as it must be.",
  E_SIGNATURE_KEY: "The signature was made with a key that is not trusted here.",
  E_SIGNATURE_INVALID: "The signature is not one of its key over what it says.",
  E_SIGNATURE_DIGEST: "The signature is good, but for another artifact.",
  E_SIGNATURE_NODE: "The signature is not for this node.",
  E_SIGNATURE_EXPIRED: "The signature has expired.",
  E_SIGNATURE_NOT_YET: "The signature is not valid yet.",
  E_SIGNATURE_CLOCK: "The node's clock is obviously wrong, and the signature depends on the time.",
  E_SIGNATURE_REPLAYED: "The signature is good for one run, and was used for another one.",
  E_SIGNATURE_KEYS: "The trusted keys cannot be read, or there are none.",
  E_SIGNATURE_SNIPPET: "Snippets are not signed, and only signed code is run here.",
  E_KEY_FILE: "A key file cannot be read or written, or holds something else.",
  E_RECEIPT_FORM: "The file is not a receipt as it must be written.",
  E_RECEIPT_ARTIFACT: "The artifact is not the one that the receipt tells of.",
  E_RECEIPT_LOG: "The log is not the one that the receipt tells of.",
  E_RECEIPT_LOG_GAP: "Lines of the log that the receipt tells of are missing.",
} as const;

export type SigningCode = keyof typeof signingCodes;

export function signingProblem(
  code: SigningCode,
  message: string,
  remedy: string,
  path = "",
): Diagnostic {
  return { code, path, message, remedy };
}
