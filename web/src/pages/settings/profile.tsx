import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { request, session } from "../../api/client";
import { requestIdOf, sentence, settled } from "../../api/errors";
import { graphql } from "../../api/generated";
import { query } from "../../api/query";
import { useInstallation } from "../../components/installation";
import { Loaded } from "../../components/loaded";
import { AccountDeleteForm } from "../../forms/account-delete";
import { EmailChangeForm } from "../../forms/email-change";
import { PasswordChangeForm } from "../../forms/password-change";
import { minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Fact, Facts, Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";

const ProfileDocument = graphql(`
  query Profile {
    viewer { user { id email emailVerified createdAt } }
  }
`);

const ResendVerificationDocument = graphql(`
  mutation ResendVerification {
    resendVerification { done userErrors { code message param } }
  }
`);

/** Who one is, whatever the organisation: address, password, and the end of the account. */
export function ProfilePage() {
  const profile = useQuery(query(ProfileDocument));
  const mail = useInstallation().data?.mail;
  const navigate = useNavigate();
  const [deleting, setDeleting] = useState(false);
  const resend = useMutation({
    mutationFn: async () => settled((await request(ResendVerificationDocument)).resendVerification),
    onSuccess: () => toast("A letter is on its way"),
    onError: (error) => toast(sentence(error), "bad", requestIdOf(error)),
  });
  return (
    <Loaded query={profile}>
      {({ viewer: { user } }) => (
        <>
          <Panel title="Account">
            <Facts>
              <Fact name="Email">
                <span className="flex flex-wrap items-center gap-2">
                  <span className="min-w-0 wrap-anywhere">{user.email}</span>
                  {user.emailVerified ? (
                    <Badge tone="ok">Verified</Badge>
                  ) : (
                    mail && (
                      <>
                        <Badge tone="warn">Not verified</Badge>
                        <Button busy={resend.isPending} onClick={() => resend.mutate()}>
                          Send the link again
                        </Button>
                      </>
                    )
                  )}
                </span>
              </Fact>
              <Fact name="Since">{minute(user.createdAt)}</Fact>
            </Facts>
          </Panel>
          <Panel title="Password" note="Your other sessions end when you change it.">
            <div className="max-w-md">
              <PasswordChangeForm />
            </div>
          </Panel>
          <Panel title="Email" note="Your other sessions end when you change it.">
            <div className="max-w-md">
              <EmailChangeForm />
            </div>
          </Panel>
          <Panel
            title="Delete account"
            note="You leave every organisation. The last owner of one cannot."
            actions={
              <Button look="danger" onClick={() => setDeleting(true)}>
                Delete account
              </Button>
            }
          />
          {deleting && (
            <Dialog title="Delete account" onClose={() => setDeleting(false)}>
              <AccountDeleteForm
                onCancel={() => setDeleting(false)}
                onDone={() => {
                  session.forget();
                  void navigate(paths.signUp());
                }}
              />
            </Dialog>
          )}
        </>
      )}
    </Loaded>
  );
}
