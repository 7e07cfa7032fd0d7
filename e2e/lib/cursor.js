// Cursors and ids of messages: `MS-SEQ`.

/** Whether one comes after the other. As texts they do not: the numbers differ in length. */
export function isAfter(one, other) {
  const [[ms, seq], [otherMs, otherSeq]] = [one, other].map((id) => id.split("-").map(Number));
  return ms > otherMs || (ms === otherMs && seq > otherSeq);
}
