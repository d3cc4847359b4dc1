// The two things that every service of the master is given from outside: the time and a logger.

/** Unix time in milliseconds. */
export type Clock = () => number;

/** Milliseconds of a clock that cannot be set. */
export const steadyMs: Clock = () => performance.now();

/** The part of pino that the master uses; a pino logger fits as it is. */
export interface Logger {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}
