import { getRouteApi, useNavigate, useRouter } from "@tanstack/react-router";
import { Page } from "../../components/page";
import { ApiKeyCreateForm } from "../../forms/api-key-create";
import { paths } from "../../lib/paths";
import { Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";

const route = getRouteApi("/tenant/api-keys/new");

export function NewApiKeyPage() {
  const { usagePlan } = route.useSearch();
  const navigate = useNavigate();
  const router = useRouter();
  return (
    <Page title="Create an API key" crumbs={[{ label: "API keys", to: paths.apiKeys() }]}>
      <div className="max-w-2xl">
        <Panel>
          <ApiKeyCreateForm
            usagePlan={usagePlan}
            onCancel={() => router.history.back()}
            onDone={(apiKey) => {
              toast("API key created");
              void navigate(paths.firstRequest(apiKey));
            }}
          />
        </Panel>
      </div>
    </Page>
  );
}
