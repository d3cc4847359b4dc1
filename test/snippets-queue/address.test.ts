// What AMQP_URL may say, and that nothing of it but the place is ever shown.
import { inspect } from "node:util";
import t from "tap";
import { AmqpAddress } from "../../master/snippets/broker/rabbitmq/address.ts";
import { troubleOf } from "../../master/snippets/broker/rabbitmq/trouble.ts";

function parsed(text: string): AmqpAddress {
  const read = AmqpAddress.parse(text);
  if ("wrong" in read) throw new Error(read.wrong);
  return read.value;
}

t.test("an address is read with all of its parts", async (t) => {
  const address = parsed("amqps://an%3An:p%40ss%2F@mq.example.org:5999/jobs%2Fa?heartbeat=30");
  t.equal(address.shown, "mq.example.org:5999/jobs/a");
  t.strictSame(address.connectOptions(), {
    protocol: "amqps",
    hostname: "mq.example.org",
    port: 5999,
    username: "an:n",
    password: "p@ss/",
    vhost: "jobs%2Fa",
    heartbeat: 30,
  });
});

t.test("what is not said has the usual values", async (t) => {
  t.equal(parsed("amqp://mq").shown, "mq:5672");
  t.equal(parsed("amqps://mq/").shown, "mq:5671");
  t.equal(parsed("amqp://[::1]/%2F").shown, "[::1]:5672");
  const { hostname, username } = parsed("amqp://[::1]").connectOptions();
  t.strictSame({ hostname, username }, { hostname: "::1", username: undefined });
});

t.test("what is wrong is said without the text", async (t) => {
  const wrongs = [
    "hunter2",
    "http://ann:hunter2@mq",
    "amqp://",
    "amqp://ann:hunter2@mq:99999",
    "amqp://ann:hunter2%@mq",
    "amqp://ann:hunter2@mq?heartbeat=never",
    "amqp://ann:hunter2@mq?heartbeat=0",
  ];
  for (const text of wrongs) {
    const read = AmqpAddress.parse(text);
    t.ok("wrong" in read, text);
    t.match("wrong" in read && read.wrong, /must be/);
    t.notMatch(JSON.stringify(read), /hunter2/);
  }
});

t.test("an address that is printed by accident shows no password", async (t) => {
  const address = parsed("amqp://ann:hunter2@mq");
  t.notMatch(`${JSON.stringify(address)} ${inspect(address, { depth: 9 })}`, /hunter2|ann/);
});

t.test("a failure without words of its own is still told", async (t) => {
  const both = new AggregateError([new Error("connect ECONNREFUSED ::1:1"), new Error("other")]);
  t.match(troubleOf(both, "mq:5672").text, /cannot be reached: connect ECONNREFUSED ::1:1; other$/);
  t.match(troubleOf("a word", "mq:5672").text, /cannot be reached: a word/);
});
