// A command of the library's door, from what a caller says to the snippet that will run. Used over
// HTTP and in a program's own process alike.
import type { Snippet } from "../snippets/snippet.ts";
import { commandProblem } from "./command-policy.ts";
import type { DoorParts } from "./door-parts.ts";
import type { Input } from "./input.ts";
import { commandsQueue } from "./languages.ts";
import { makeSnippet } from "./make-snippet.ts";
import { givenFields, readGiven } from "./read-given.ts";

/** Undefined: it is not valid, which the input's problems tell. */
export function readCommand(
  parts: Pick<DoorParts, "rules" | "deniedCommands" | "callbacks" | "clock">,
  input: Input,
  owner: string,
): Snippet | undefined {
  const before = input.problems.length;
  input.only(["command", ...givenFields]);
  const command = input.text("command", 4096);
  const isEmpty = command === undefined || command.trim() === "" || command.includes("\0");
  // What is no text was told.
  if (isEmpty && (command !== undefined || !input.has("command"))) {
    input.bad("command", "is empty", "Name a program.", "E_SNIPPET_COMMAND");
  }
  const { words, ...given } = readGiven(input, parts);
  const argv = [command ?? "", ...words];
  const problem = commandProblem(argv, parts.deniedCommands);
  if (problem !== undefined) {
    input.bad("command", `is refused: ${problem}`, "The operator decides.", "E_SNIPPET_DENIED");
  }
  if (input.problems.length > before) return undefined;
  return makeSnippet(
    { owner, language: commandsQueue, run: { kind: "command", argv }, ...given },
    parts.rules,
    parts.clock(),
  );
}
