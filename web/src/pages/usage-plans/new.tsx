import { useNavigate, useRouter } from "@tanstack/react-router";
import { Page } from "../../components/page";
import { UsagePlanForm } from "../../forms/usage-plan";
import { paths } from "../../lib/paths";
import { Panel } from "../../ui/panel";
import { toast } from "../../ui/toast";

export function NewUsagePlanPage() {
  const navigate = useNavigate();
  const router = useRouter();
  return (
    <Page title="Create a usage plan" crumbs={[{ label: "Usage plans", to: paths.usagePlans() }]}>
      <div className="max-w-2xl">
        <Panel>
          <UsagePlanForm
            onCancel={() => router.history.back()}
            onDone={(plan) => {
              toast("Usage plan created");
              void navigate(paths.usagePlan(plan));
            }}
          />
        </Panel>
      </div>
    </Page>
  );
}
