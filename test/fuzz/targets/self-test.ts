// A target that breaks each promise when it is told to: shows that the fuzzer notices.
import { Broken, type Target } from "../target.ts";

const kept: unknown[] = [];

export function open(): Target {
  return {
    boundMs: 500,
    async run(input) {
      const text = input.toString();
      if (text.includes("throw")) throw new Broken("it was told to");
      if (text.includes("hang")) for (;;) Math.random();
      if (text.includes("pollute")) Reflect.set(Object.prototype, "polluted", true);
      if (text.includes("replace")) {
        const { push } = Array.prototype;
        Array.prototype.push = function (...items) {
          return push.apply(this, items);
        };
      }
      if (text.includes("late")) {
        void Promise.reject(new Error("late"));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      if (text.includes("die")) process.abort();
      if (text.includes("grow")) kept.push(Buffer.alloc(100 * 2 ** 20, 1));
      if (text.includes("never")) await new Promise(() => setInterval(() => undefined, 1000));
    },
  };
}
