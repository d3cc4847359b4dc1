// The named moments at which `edgedag chaos` kills an agent or a master, and the hook that stands
// there. The hook is undefined in every process that `edgedag chaos` has not started itself
// (see arm-crash-point.ts), so that a point costs one comparison. The pure core has none.

/** `most`: the highest passage that chaos chooses; later ones are too rare to wait for. */
export const crashPoints = {
  "agent.run-begin": { most: 1, when: "an offered run is checked, and not yet in the journal" },
  "agent.run-begun": { most: 1, when: "a run is in the journal, and has not begun" },
  "agent.run-resumed": { most: 1, when: "an earlier agent's run was replayed" },
  "agent.run-finish": { most: 1, when: "a run has its outcome, which is not in the journal" },
  "agent.run-finished": { most: 1, when: "the outcome of a run is in the journal" },
  "agent.attempt-dispatch": { most: 25, when: "before an attempt is handed to launcher or worker" },
  "agent.attempt-dispatched": { most: 25, when: "the order to begin an attempt is buffered" },
  "agent.turn-flushed": { most: 40, when: "attempts have begun whose turn is not in the journal" },
  "agent.attempt-end": { most: 20, when: "an attempt has ended, and the scheduler has not heard" },
  "agent.log-written": { most: 40, when: "log lines are in their file, and not in the journal" },
  "agent.journal-commit": { most: 40, when: "before a turn is written to the journal" },
  "agent.journal-written": { most: 40, when: "inside the transaction of a turn" },
  "agent.journal-committed": { most: 40, when: "a turn is in the journal, the link was not told" },
  "agent.object-copied": { most: 2, when: "a large result or artifact is copied, not recorded" },
  "agent.object-recorded": { most: 2, when: "a large result or artifact is recorded, uncommitted" },
  "agent.link-hello": { most: 1, when: "before the agent says hello to its master" },
  "agent.link-send": { most: 12, when: "before a frame of records is sent" },
  "agent.link-sent": { most: 12, when: "a frame of records is with the operating system" },
  "agent.ack-received": {
    most: 8,
    when: "the master's ack is read, and the journal has not heard",
  },
  "agent.ack-write": { most: 8, when: "before an ack is written to the journal" },
  "agent.ack-written": { most: 8, when: "inside the transaction of an ack" },
  "agent.ack-committed": { most: 8, when: "an ack is in the journal, copies are still there" },
  "master.run-submit": { most: 1, when: "a submitted run is checked, and not stored" },
  "master.run-stored": { most: 1, when: "a submitted run is stored, and its sender not told" },
  "master.run-offered": { most: 1, when: "a run was offered to its node" },
  "master.run-accepted": { most: 1, when: "a node's word that it has the run is stored" },
  "master.hello": { most: 2, when: "a node has said hello, and is not welcomed" },
  "master.frame-received": { most: 15, when: "a frame of records is read, and not stored" },
  "master.frame-written": { most: 15, when: "inside the transaction of frames" },
  "master.frame-stored": { most: 15, when: "frames are stored, and not acknowledged" },
  "master.ack-sent": { most: 15, when: "an ack was sent" },
  "master.object-verified": { most: 2, when: "an object was compared with its digest, not noted" },
} as const satisfies { [name: string]: { most: number; when: string } };

export type CrashPoint = keyof typeof crashPoints;

let passed: ((point: CrashPoint) => void) | undefined;

/** Stands at the moment itself. */
export function crashPoint(point: CrashPoint): void {
  if (passed !== undefined) passed(point);
}

/** Only for arm-crash-point.ts. */
export function onCrashPoint(strike: (point: CrashPoint) => void): void {
  passed = strike;
}

export function isCrashPoint(name: string): name is CrashPoint {
  return Object.hasOwn(crashPoints, name);
}
