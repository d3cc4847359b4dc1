// The JSON value type, used wherever data of users passes through.
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
