import t from "tap";
import { faultOf } from "../../protocol/outcome.ts";

t.test("every failure reason has a fault", async (t) => {
  t.equal(Object.keys(faultOf).length, 14);
  t.equal(faultOf.lost, "platform");
});
