// The door of a sandbox manager: files that a snippet leaves in ./artifacts.
import t from "tap";
import { Service } from "./serve-rig.ts";

const service = await Service.start();
t.teardown(() => service.end());

const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk", "base64");

/** Python that writes each of them, its content as base64. */
function writes(files: { [path: string]: Uint8Array | string }, more = ""): string {
  const encoded = Object.fromEntries(
    Object.entries(files).map(([path, content]) => [path, Buffer.from(content).toString("base64")]),
  );
  return [
    "import base64, json, pathlib",
    `files = json.loads(${JSON.stringify(JSON.stringify(encoded))})`,
    "def main():",
    "    for path, content in files.items():",
    "        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)",
    "        pathlib.Path(path).write_bytes(base64.b64decode(content))",
    ...more.split("\n").map((line) => `    ${line}`),
    "    return len(files)",
  ].join("\n");
}

t.test("each listed ending is handed on with its type and all of its bytes", async (t) => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const files = {
    "artifacts/a.png": png,
    "artifacts/b.jpg": all,
    "artifacts/c.jpeg": all,
    "artifacts/d.svg": "<svg/>",
    "artifacts/e.pdf": "%PDF-",
    "artifacts/f.csv": "a,b\r\n1,ü\r\n",
    "artifacts/g.json": "{}",
    "artifacts/h.html": "<p>",
  };
  const answer = await service.run("python", writes(files));
  t.match(answer, { status: "success", result: { value: 8 } });
  const found = answer.artifacts.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const types = [
    "image/png",
    "image/jpeg",
    "image/jpeg",
    "image/svg+xml",
    "application/pdf",
    "text/csv",
    "application/json",
    "text/html",
  ];
  t.same(
    found,
    Object.entries(files).map(([path, content], index) => ({
      name: path.slice("artifacts/".length),
      mime_type: types[index],
      size: Buffer.from(content).length,
      content_b64: Buffer.from(content).toString("base64"),
    })),
  );
});

t.test("the folder is there before the snippet begins, in both languages", async (t) => {
  const python = "def main():\n    open('artifacts/a.csv', 'w').write('1')\n    return True\n";
  t.match(await service.run("python", python), { artifacts: [{ name: "a.csv", size: 1 }] });
  const nodejs =
    "const fs = require('node:fs');\nexports.main = () => { fs.writeFileSync('./artifacts/b.json', '[]'); };";
  t.match(await service.run("nodejs", nodejs), { artifacts: [{ name: "b.json", size: 2 }] });
});

t.test("what is not listed, hidden, empty, deeper or elsewhere is left out", async (t) => {
  const answer = await service.run(
    "python",
    writes({
      "artifacts/yes.csv": "1",
      "artifacts/UPPER.PNG": "2",
      "artifacts/no.txt": "no",
      "artifacts/no": "no",
      "artifacts/no.csv.exe": "no",
      "artifacts/.hidden.csv": "no",
      "artifacts/.csv": "no",
      "artifacts/empty.csv": "",
      "artifacts/deep/no.csv": "no",
      "no.csv": "no",
      "other/no.csv": "no",
    }),
  );
  t.equal(answer.status, "success", answer.stderr);
  t.same(answer.artifacts.map(({ name }) => name).sort(), ["UPPER.PNG", "yes.csv"]);
});

t.test("links and other things that are no files are not followed", async (t) => {
  const more = [
    "import os",
    "os.symlink('/etc/passwd', 'artifacts/link.csv')",
    "os.symlink('../secret', 'artifacts/inner.csv')",
    "os.mkdir('artifacts/folder.csv')",
    "os.mkfifo('artifacts/pipe.csv')",
  ].join("\n");
  const answer = await service.run("python", writes({ secret: "s", "artifacts/a.csv": "1" }, more));
  t.equal(answer.status, "success", answer.stderr);
  t.same(
    answer.artifacts.map(({ name }) => name),
    ["a.csv"],
  );
  const whole =
    "import os\ndef main():\n    os.rmdir('artifacts')\n    os.symlink('/etc', 'artifacts')\n";
  t.match(await service.run("python", whole), { status: "success", artifacts: [] });
});

t.test("at most ten files, none above 10 MiB", async (t) => {
  const many = Object.fromEntries(
    Array.from({ length: 25 }, (_, index) => [`artifacts/${index}.csv`, `${index}`]),
  );
  const answer = await service.run("python", writes(many));
  t.equal(answer.status, "success", answer.stderr);
  t.equal(answer.artifacts.length, 10);
  t.equal(new Set(answer.artifacts.map(({ name }) => name)).size, 10);
  const sizes =
    "def main():\n    for name, size in (('fits', 10 * 2**20), ('over', 10 * 2**20 + 1)):\n        with open(f'artifacts/{name}.csv', 'wb') as file:\n            file.write(b'x' * size)\n    return 'done'\n";
  const large = await service.run("python", sizes);
  t.equal(large.status, "success", large.stderr || large.detail || "");
  t.same(
    large.artifacts.map(({ name, size }) => [name, size]),
    [["fits.csv", 10 * 2 ** 20]],
  );
  t.equal(large.artifacts[0]?.content_b64.length, Math.ceil((10 * 2 ** 20) / 3) * 4);
});

t.test("ten files of 10 MiB are all handed on", async (t) => {
  const code =
    "def main():\n    for n in range(10):\n        with open(f'artifacts/{n}.csv', 'wb') as file:\n            for _ in range(10):\n                file.write(bytes([n]) * 2**20)\n";
  const answer = await service.run("python", code);
  t.equal(answer.status, "success", `${answer.detail} ${answer.stderr.slice(0, 500)}`);
  t.same(
    answer.artifacts.map(({ size }) => size),
    Array(10).fill(10 * 2 ** 20),
  );
});

t.test("names of any letters are kept, control characters are not", async (t) => {
  const more =
    "open('artifacts/a\\nb.csv', 'w').write('1')\nopen('artifacts/back\\\\slash.csv', 'w').write('1')";
  const answer = await service.run("python", writes({ "artifacts/Größe 图.csv": "1" }, more));
  t.equal(answer.status, "success", answer.stderr);
  t.same(
    answer.artifacts.map(({ name }) => name),
    ["Größe 图.csv"],
  );
});

t.test("of a snippet that failed there are none, and the next one finds none", async (t) => {
  const failed =
    "def main():\n    open('artifacts/a.csv', 'w').write('1')\n    raise ValueError()\n";
  t.same((await service.run("python", failed)).artifacts, []);
  const next = "import os\ndef main():\n    return os.listdir('artifacts')\n";
  for (let n = 0; n < 5; n++) t.same((await service.run("python", next)).result?.value, []);
});
