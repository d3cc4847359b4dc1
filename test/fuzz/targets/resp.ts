// The store's reader of requests: the same commands wherever the stream is cut, bounded, no throw.
import { RequestParser, splitInline } from "../../../agent/store/resp.ts";
import { cut } from "../engine/frames.ts";
import { must, shown, type Target } from "../target.ts";

const limitBytes = 4096;

export const respWords = [
  "*1\r\n",
  "*-1\r\n",
  "*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
  "$0\r\n\r\n",
  "$-1\r\n",
  "$4097\r\n",
  "*1048577\r\n",
  "\r\n",
  "PING\r\n",
  'SET a "b\\x41\\n" \r\n',
  "'",
  "\\x",
];

function commandsOf(pieces: readonly Buffer[]): { commands: string[][]; error: string } {
  const parser = new RequestParser(limitBytes);
  const commands: string[][] = [];
  let fed = 0;
  for (const piece of pieces) {
    parser.push(piece);
    fed += piece.length;
    for (let command = parser.next(); command !== undefined; command = parser.next())
      commands.push(command);
    must(parser.bufferedBytes <= fed, "it holds more than it was given");
    if (parser.error !== "") break;
  }
  return { commands, error: parser.error };
}

export function open(): Target {
  return {
    covers: /\/agent\/store\/resp\.ts$/,
    dictionary: respWords,
    seeds: () => [
      "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhello\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
      "SET a \"b c\"\r\nGET 'a'\r\n\r\nPING\n",
      "*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
      "*1\r\n$13\r\n0123456789abc\r\n",
    ],
    run(input) {
      const whole = commandsOf([input]);
      const pieces = commandsOf(cut(input));
      must(
        JSON.stringify(whole) === JSON.stringify(pieces),
        `cut elsewhere it reads ${shown(pieces)} instead of ${shown(whole)}`,
      );
      must(
        whole.error === "" || whole.error.startsWith("Protocol error: "),
        "an error of its own kind",
      );
      for (const command of whole.commands) {
        const bytes = command.reduce((sum, word) => sum + word.length, 0);
        must(bytes <= Math.max(limitBytes, 65_536), `a command of ${bytes} bytes`);
      }
      splitInline(input.toString("latin1"));
    },
  };
}
