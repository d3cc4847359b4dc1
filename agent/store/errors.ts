// Error replies in Redis's own words: clients and people recognize them.

export const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";
export const syntaxError = "ERR syntax error";
export const notInteger = "ERR value is not an integer or out of range";
export const notFloat = "ERR value is not a valid float";
export const noSuchKey = "ERR no such key";
export const indexOutOfRange = "ERR index out of range";
export const overflow = "ERR increment or decrement would overflow";
export const notPositive = "ERR value is out of range, must be positive";
export const tooLong = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
export const outOfMemory = "OOM command not allowed when used memory > 'maxmemory'.";
export const internalError = "ERR internal error of the store";
