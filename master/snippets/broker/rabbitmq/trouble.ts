// What RabbitMQ, the network or Node.js says when something goes wrong, put into a sentence and a
// remedy. Words of the server are passed on; addresses never hold credentials (address.ts).
import { BrokerDown } from "../broker.ts";

export interface Trouble {
  text: string;
  remedy: string;
}

export function brokerDown({ text, remedy }: Trouble): BrokerDown {
  return new BrokerDown(text, remedy);
}

export function troubleOf(error: unknown, address: string): Trouble {
  const at = `RabbitMQ at ${address}`;
  const said = wordsOf(error);
  const code = Number(/\b(\d{3}) \([A-Z-]+\)/.exec(said)?.[1]);
  const words = /with message "(?:[A-Z_]+ - )?(.*)"/s.exec(said)?.[1] ?? said;
  switch (code) {
    case 320:
      return { text: `${at} closed the connection: ${words}`, remedy: "start it again" };
    case 403:
      return /login was refused/i.test(words)
        ? { text: `${at} refused the login`, remedy: "correct user and password in AMQP_URL" }
        : {
            text: `${at} refused access: ${words}`,
            remedy:
              "let that user configure, write and read edgedag.*, by rabbitmqctl set_permissions",
          };
    case 406:
      return preconditionOf(words, at);
  }
  // Why the server closes at this point amqplib does not pass on; it has no other reason here.
  if (/ConnectionOpenOk; got <ConnectionClose/.test(said)) {
    return {
      text: `${at} refused the virtual host, which is missing or not for this user`,
      remedy:
        "make it with rabbitmqctl add_vhost and set_permissions, or correct the path in AMQP_URL",
    };
  }
  if (!Number.isNaN(code)) {
    return {
      text: `${at} reported an error: ${words}`,
      remedy: "see the log of RabbitMQ; it goes on trying",
    };
  }
  if (/certificate|altnames/i.test(words)) {
    return {
      text: `${at} has a certificate that is not trusted: ${words}`,
      remedy: "name the file of its certificate authority in NODE_EXTRA_CA_CERTS",
    };
  }
  return {
    text: `${at} cannot be reached: ${words}`,
    remedy: "start it, or correct AMQP_URL; it goes on trying",
  };
}

function preconditionOf(words: string, at: string): Trouble {
  if (/timed out/.test(words)) {
    return {
      text: `${at} took messages back that waited too long for their end: ${words}`,
      remedy: "raise consumer_timeout in rabbitmq.conf above the longest time in the queue",
    };
  }
  return {
    text: `${at} has a queue or an exchange of that name with other properties: ${words}`,
    remedy:
      "delete it when it is empty, by rabbitmqctl delete_queue, and it is made anew; or use another virtual host",
  };
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== "") return error.message;
  // Of a host with several addresses Node.js reports one failure each, and no sentence of its own.
  if (error instanceof AggregateError) return error.errors.map(wordsOf).join("; ");
  return error.name;
}
