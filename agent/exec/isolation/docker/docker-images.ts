// Which image a language's boxes are made of, and what the engine knows of it. Nothing is ever
// pulled: a missing image is said when the agent starts, not when a task waits for it.
import { machine } from "node:os";
import { BoxError } from "../box.ts";
import { type DockerEngine, fields } from "./docker-engine.ts";

/** What the registry of languages says of one. */
export interface ImageHint {
  /** Its name and aliases. */
  names: readonly string[];
  image: string | undefined;
}

export interface DockerImagesOptions {
  /** The operator's: by language; "*" is for all others. */
  images: Readonly<Record<string, string>>;
  /** The registry's; absent or undefined: only the operator's count. */
  hint?: (language: string) => ImageHint | undefined;
}

export interface DockerImage {
  name: string;
  /** What the image sets, PATH included. */
  env: Readonly<Record<string, string>>;
}

/** What runners and programs have several names for. */
const alike: Readonly<Record<string, readonly string[]>> = {
  node: ["node", "javascript"],
  javascript: ["javascript", "node"],
  shell: ["shell", "bash"],
};
const architectures: Readonly<Record<string, string>> = { x86_64: "amd64", aarch64: "arm64" };

export class DockerImages {
  readonly #options: DockerImagesOptions;
  readonly #known = new Map<string, DockerImage>();

  constructor(options: DockerImagesOptions) {
    this.#options = options;
  }

  /** Throws BoxError when nobody has named one. */
  nameOf(language: string): string {
    const { images, hint } = this.#options;
    const own = alike[language] ?? [language];
    const hints = own.flatMap((name) => hint?.(name) ?? []);
    for (const name of [...own, ...hints.flatMap((one) => one.names), "*"]) {
      const image = Object.hasOwn(images, name) ? images[name] : undefined;
      if (image !== undefined) return image;
    }
    const image = hints.find((one) => one.image !== undefined)?.image;
    if (image !== undefined) return image;
    throw new BoxError(
      `no image is known for the language ${language}`,
      `Name one in EDGEDAG_DOCKER_IMAGES: ${language}=IMAGE, or *=IMAGE for all languages.`,
    );
  }

  /** Throws BoxError when the engine does not have it. Asked once for each image. */
  async find(engine: DockerEngine, language: string): Promise<DockerImage> {
    const name = this.nameOf(language);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const answer = await engine.ask({ method: "GET", path: `/images/${path(name)}/json` });
    if (!answer.ok) {
      if (answer.status !== 404) throw new BoxError(answer.detail, remedyOf(engine.socketPath));
      throw missingImage(name, language);
    }
    const { Architecture, Os, Config } = fields(answer.value);
    const ours = architectures[machine()];
    if (Os !== "linux" || (ours !== undefined && Architecture !== ours)) {
      throw new BoxError(
        `the image ${name} for ${language} is for ${Os}/${Architecture}, this machine is linux/${ours}`,
        `Run: docker pull --platform linux/${ours} ${name}`,
      );
    }
    const image = { name, env: environment(fields(Config).Env) };
    this.#known.set(name, image);
    return image;
  }

  /** After the engine was away, or has said that an image is gone. */
  forget(): void {
    this.#known.clear();
  }
}

export function missingImage(name: string, language: string): BoxError {
  return new BoxError(
    `the engine has no image ${name} for ${language}`,
    `Run: docker pull ${name}, or name another one in EDGEDAG_DOCKER_IMAGES.`,
  );
}

export function remedyOf(socketPath: string): string {
  return (
    `See that the Docker engine runs and that the agent may use ${socketPath} ` +
    `(EDGEDAG_DOCKER_SOCKET; the group docker usually may): docker -H unix://${socketPath} version`
  );
}

/** A name may hold slashes, which are part of the path, and an at sign before a digest. */
function path(name: string): string {
  return name.split("/").map(encodeURIComponent).join("/");
}

function environment(list: unknown): Record<string, string> {
  const env: Record<string, string> = {};
  if (!Array.isArray(list)) return env;
  for (const entry of list) {
    const at = typeof entry === "string" ? entry.indexOf("=") : -1;
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  return env;
}
