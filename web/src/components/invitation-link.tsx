import type { SentInvitation } from "../forms/invitation-create";
import { Button } from "../ui/button";
import { CodeBlock } from "../ui/copy";
import { Dialog } from "../ui/dialog";

/** The link of an invitation that no mail took to whom it is for. */
export function InvitationLink({
  sent: { email, link },
  onClose,
}: {
  sent: SentInvitation;
  onClose: () => void;
}) {
  if (!link) return null;
  return (
    <Dialog title={`Invitation of ${email}`} onClose={onClose}>
      <div className="flex flex-col gap-4">
        <p>No mail goes out from this installation. Pass the link on yourself: it is shown only this once.</p>
        <CodeBlock text={link} what="invitation link" />
        <div className="flex justify-end">
          <Button look="primary" onClick={onClose}>
            I have copied it
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
