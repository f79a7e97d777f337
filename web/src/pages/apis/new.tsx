import { useNavigate, useRouter } from "@tanstack/react-router";
import { Page } from "../../components/page";
import { ApiCreateForm } from "../../forms/api-create";
import { paths } from "../../lib/paths";
import { Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";

export function NewApiPage() {
  const navigate = useNavigate();
  const router = useRouter();
  return (
    <Page
      title="Create an API"
      crumbs={[{ label: "APIs", to: paths.apis() }]}
      note="It starts as a draft without routes. Nothing is public until you deploy it."
    >
      <div className="max-w-xl">
        <Panel>
          <ApiCreateForm
            onCancel={() => router.history.back()}
            onDone={(api) => {
              toast("API created");
              void navigate(paths.api(api));
            }}
          />
        </Panel>
      </div>
    </Page>
  );
}
