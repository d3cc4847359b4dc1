// The mask of secrets over a stream: however it is cut, no secret and no form of one comes through,
// and what comes is the same.

import { Automaton } from "../../../agent/secrets/automaton.ts";
import { Mask } from "../../../agent/secrets/mask.ts";
import { StreamMask } from "../../../agent/secrets/stream-mask.ts";
import { cut } from "../engine/frames.ts";
import { must, shown, type Target } from "../target.ts";

const secrets = [
  "correct-horse-battery",
  'p\u00e4ssw\u00f6rd "quoted"\n',
  "12345678901234",
  "aaaaaaaaab",
];

export function open(): Target {
  const buffers = secrets.map((secret) => Buffer.from(secret));
  const automaton = new Automaton(buffers);
  const mask = new Mask(buffers);
  const forms = secrets.flatMap((secret) => {
    const bytes = Buffer.from(secret);
    return [
      secret,
      bytes.toString("base64"),
      bytes.toString("hex"),
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
    ];
  });
  const masked = (pieces: readonly Buffer[]): Buffer => {
    const stream = new StreamMask(automaton);
    const out: Buffer[] = [];
    const put = (bytes: Buffer) => {
      out.push(Buffer.from(bytes));
    };
    for (const piece of pieces) stream.write(Buffer.from(piece), put);
    stream.end(put);
    return Buffer.concat(out);
  };
  return {
    covers: /\/agent\/secrets\/(mask|stream-mask|automaton|patterns)\.ts$/,
    dictionary: [
      ...forms,
      ...forms.map((form) => form.slice(0, form.length >> 1)),
      ...forms.map((form) => form.slice(form.length >> 1)),
      "***",
    ],
    seeds: () => [
      forms.join(" "),
      `x${secrets.join("")}`,
      JSON.stringify({ a: secrets }),
      "aaaaaaaaaaaaaaaaab",
    ],
    run(input) {
      const whole = masked([input]);
      const pieces = masked(cut(input));
      must(whole.equals(pieces), `cut elsewhere: ${shown(pieces.toString("latin1"))}`);
      for (const secret of buffers)
        must(!whole.includes(secret), `it tells ${shown(secret.toString())}`);
      const text = input.toString("utf8");
      const shownText = mask.text(text);
      for (const secret of secrets)
        must(!shownText.includes(secret), `the text tells ${shown(secret)}`);
      const json = parsed(text);
      if (json !== undefined) {
        // The digits of an escaped half of a character are no text of the value.
        const told = JSON.stringify(mask.json(json as never)).replaceAll(
          /\\u[dD][89a-fA-F][0-9a-fA-F]{2}/g,
          "\ufffd",
        );
        for (const secret of secrets) {
          must(
            !told.includes(JSON.stringify(secret).slice(1, -1)),
            `the value tells ${shown(secret)}`,
          );
        }
      }
    },
    close: () => mask.close(),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
