import { test } from "./console";

test("an address that does not exist says so and leads back", async ({ visit }) => {
  await visit.go("/no/such/page");
  await visit.heading("There is nothing at this address").waitFor();
  await visit.isAccessible();
  await visit.account();
  await visit.follow("Go to the overview");
  await visit.heading("Overview").waitFor();
});
