// The store in SQLite, in a file and in memory: what every store must do, and what is its own.
import t from "tap";
import { SqliteSnippets } from "../../master/snippets/store/sqlite/sqlite-snippets.ts";
import { storeSuite } from "./suite.ts";

void t.test("SQLite in a file, with its thread", async (t) => {
  storeSuite(t, {
    open: (t) => SqliteSnippets.open({ folder: t.testdir(), durability: "process" }),
  });
});

void t.test("SQLite in a file, synced to the disk", async (t) => {
  storeSuite(t, {
    open: (t) => SqliteSnippets.open({ folder: t.testdir(), durability: "power" }),
  });
});

void t.test("SQLite in memory", async (t) => {
  storeSuite(t, {
    open: () => SqliteSnippets.open({ folder: ":memory:", durability: "process" }),
  });
});
