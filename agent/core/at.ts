// Reading by an index that must be valid: beyond the end is a bug of ours, never a default value.

export function at<T>(list: ArrayLike<T>, index: number): T {
  const value = list[index];
  if (value === undefined) throw new RangeError(`no entry ${index} of ${list.length}`);
  return value;
}
