import { expect, test } from "vitest";
import { answersWords, figures } from "./limit-words";

test("a limit's figures are told in its own terms", () => {
  expect(figures({ rateLimit: 0.001, burstLimit: 2000 })).toBe("0.001 a second, 2,000 at once");
  expect(figures({ maxInFlight: 5 })).toBe("5 in progress");
  expect(figures({ quotaLimit: 1, quotaPeriodSeconds: 86_400 })).toBe("1 call in a period of 1 day");
  expect(figures({ quotaLimit: 1000, quotaPeriodSeconds: 2_592_000 })).toBe(
    "1,000 calls in a period of 30 days",
  );
  expect(figures({ quotaLimit: 10, quotaPeriodSeconds: null })).toBe("10 calls");
});

test("it is told of how many nodes a state is", () => {
  expect(answersWords([])).toBe("No node is there to be asked.");
  expect(answersWords(["KNOWN", "KNOWN"])).toBe("2 of 2 nodes answered.");
  expect(answersWords(["KNOWN", "NOTHING_KNOWN", "NO_ANSWER"])).toBe(
    "2 of 3 nodes answered; 1 of them had no call of this key in the last minutes; " +
      "what the others let through is not shown: they are silent, or of an older release.",
  );
});
