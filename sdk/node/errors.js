// What can go wrong in the SDK, as errors that a task may catch.

/** Everything that the SDK throws for what the world does. */
export class EdgedagError extends Error {
  name = this.constructor.name;
}

/** This code was not started by edgedag. */
export class OutsideOfRun extends EdgedagError {
  /** @param {string} variable */
  constructor(variable) {
    super(
      `${variable} is not set: this code runs outside of edgedag; start it as a task with` +
        " `edgedag run`, or set EDGEDAG_STORE to the socket of a Redis server",
    );
  }
}

/** The store cannot be reached, or has closed the connection. */
export class StoreUnreachable extends EdgedagError {}

/** The store has answered with an error, whose text this is. */
export class StoreError extends EdgedagError {}

/** The event did not come in time. */
export class WaitTimeout extends EdgedagError {}
