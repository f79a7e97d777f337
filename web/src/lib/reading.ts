/** How far the reading of an exported file is: its lines are the oldest first, and each begins with its time. */
export type Progress = {
  /** Lines that came whole. */
  lines: number;
  /** Of the stretch of time that was asked for, 0 to 1. */
  part: number;
};

const START = /^(?:\{"start":")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/;

/** Follows a file of usage, piece by piece. */
export function progressOf(since: string, until: string): (piece: string) => Progress {
  const [from, to] = [Date.parse(since), Date.parse(until)];
  let tail = "";
  let lines = 0;
  let part = 0;
  return (piece) => {
    const found = (tail + piece).split("\n");
    tail = found.pop() ?? "";
    lines += found.length;
    const start = START.exec(found.at(-1) ?? "")?.[1];
    if (start) part = Math.min(1, Math.max(part, (Date.parse(start) - from) / (to - from)));
    return { lines, part };
  };
}

/** Reads a whole answer, telling how far it is, and gives what came. */
export async function readWhole(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  follow: (piece: string) => Progress,
  tell: (progress: Progress) => void,
): Promise<BlobPart[]> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parts: BlobPart[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return parts;
    parts.push(value);
    tell(follow(decoder.decode(value, { stream: true })));
  }
}

/** The file's name as the server wrote it. */
export function fileName(disposition: string | null, otherwise: string): string {
  return /filename="([^"/\\]+)"/.exec(disposition ?? "")?.[1] ?? otherwise;
}
