// Which GPUs attempts are told to use: whole ones are exclusive, shares share one.
import t from "tap";
import { Gpus } from "../../agent/gpus.ts";

t.test("whole GPUs are exclusive and come back", async (t) => {
  const gpus = new Gpus(["0", "1", "GPU-3"]);
  t.equal(gpus.count, 3);
  const two = gpus.take(2);
  t.equal(two?.visible, "0,1");
  const one = gpus.take(1);
  t.equal(one?.visible, "GPU-3");
  t.equal(gpus.take(1), undefined);
  two?.release();
  two?.release();
  t.equal(gpus.take(3), undefined, "a second release gives nothing back");
  t.equal(gpus.take(2)?.visible, "0,1");
});

t.test("shares fill one GPU before they begin the next", async (t) => {
  const gpus = new Gpus(["0", "1"]);
  const shares = Array.from({ length: 10 }, () => gpus.take(0.1));
  t.same(new Set(shares.map((share) => share?.visible)), new Set(["0"]));
  t.equal(gpus.take(0.5)?.visible, "1");
  t.equal(gpus.take(1), undefined, "neither is free as a whole");
  for (const share of shares) share?.release();
  t.equal(gpus.take(1)?.visible, "0", "tenths add up to a whole one again");
});

t.test("who asks for none is shown none", async (t) => {
  t.equal(new Gpus(["0"]).take(0)?.visible, "");
  t.equal(new Gpus([]).take(1), undefined);
});

t.test("a share that no single GPU has room for is not had", async (t) => {
  const gpus = new Gpus(["0", "1"]);
  gpus.take(0.6);
  t.equal(gpus.take(0.6)?.visible, "1");
  t.equal(gpus.take(0.6), undefined, "0.8 are free, but in two pieces");
  t.equal(gpus.take(1.5), undefined);
});
