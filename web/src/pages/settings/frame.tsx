import { Outlet } from "@tanstack/react-router";
import { Page, Tabs } from "../../components/page";
import { useMay } from "../../components/viewer";
import { paths } from "../../lib/paths";

export function SettingsFrame() {
  const may = useMay();
  return (
    <Page
      title="Settings"
      tabs={
        <Tabs
          label="Settings"
          items={[
            { label: "Organisation", to: paths.settings() },
            { label: "Profile", to: paths.profile() },
            { label: "Members", to: paths.members() },
            { label: "Sessions", to: paths.sessions() },
            { label: "Access keys", to: paths.accessKeys() },
            { label: "Secrets", to: paths.secrets() },
            { label: "VPC links", to: paths.vpcLinks() },
            { label: "Client certificates", to: paths.clientCertificates() },
            ...(may("readAudit")
              ? [
                  { label: "Audit log", to: paths.audit(), within: true },
                  { label: "Request log", to: paths.managementRequests(), within: true },
                ]
              : []),
          ]}
        />
      }
    >
      <Outlet />
    </Page>
  );
}
