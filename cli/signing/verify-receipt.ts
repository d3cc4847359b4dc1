import type { Io } from "../io.ts";
export async function verifyReceipt(_f: string, _o: object, _io: Io): Promise<number> {
  return 0;
}
