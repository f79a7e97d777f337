/** A mail server for the installation under test (SMTP, RFC 5321): it keeps what it takes. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { expect } from "../console";

type Letter = { to: string; text: string };

export class Mailbox {
  private readonly letters: Letter[] = [];
  private readonly server = createServer(
    (socket) => void this.converse(socket).catch(() => socket.destroy()),
  );

  async listen(port: number) {
    this.server.listen(port, "127.0.0.1");
    await once(this.server, "listening");
  }

  close() {
    this.server.close();
  }

  /** The path of the link in the newest letter to this address that leads to this page. */
  async link(to: string, page: string): Promise<string> {
    const find = () => {
      const mine = this.letters.filter((letter) => letter.to === to).map(({ text }) => text);
      const links = mine.flatMap((text) => [...text.matchAll(/https?:\/\/[^\s/]+(\/[^\s"<>]*)/g)]);
      return links.map(([, path]) => path ?? "").findLast((path) => path.startsWith(`${page}?token=`));
    };
    await expect
      .poll(find, { timeout: 15_000, message: `a letter to ${to} that leads to ${page}` })
      .toBeDefined();
    return find() ?? "";
  }

  private async converse(socket: Socket) {
    const say = (line: string) => socket.write(`${line}\r\n`);
    say("220 mail.test ESMTP");
    let to = "";
    let data: string[] | undefined;
    for await (const line of createInterface({ input: socket })) {
      if (data) {
        if (line === ".") {
          // Quoted-printable: a line may go on in the next.
          const text = data.join("\n").replaceAll("=\n", "").replaceAll("=3D", "=");
          this.letters.push({ to, text });
          data = undefined;
          say("250 OK");
        } else data.push(line.replace(/^\./, ""));
        continue;
      }
      const verb = line.slice(0, 4).toUpperCase();
      if (verb === "EHLO") say("250-mail.test\r\n250 8BITMIME");
      else if (verb === "RCPT") {
        to = /<([^>]*)>/.exec(line)?.[1] ?? "";
        say("250 OK");
      } else if (verb === "DATA") {
        data = [];
        say("354 go on");
      } else if (verb === "QUIT") {
        say("221 bye");
        socket.end();
      } else say("250 OK");
    }
  }
}
