import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { request } from "../../api/client";
import { graphql } from "../../api/generated";
import type { QuarantinedSegmentQuery } from "../../api/generated/graphql";
import { query } from "../../api/query";
import { DownloadButton } from "../../components/download-button";
import { Loaded } from "../../components/loaded";
import { Page } from "../../components/page";
import { counts, QuarantineState } from "../../components/quarantine-state";
import { QuarantinedSegmentSettleForm } from "../../forms/quarantined-segment-settle";
import { bytes, count, minute } from "../../lib/format";
import { paths } from "../../lib/paths";
import { Button } from "../../ui/button";
import { CopyText } from "../../ui/copy";
import { Dialog } from "../../ui/dialog";
import { Empty, Fact, Facts, Panel } from "../../ui/panel";
import { DataTable } from "../../ui/table";
import { Missing } from "../not-found";

const QuarantinedSegmentDocument = graphql(`
  query QuarantinedSegment($id: String!) {
    quarantinedSegment(quarantinedSegmentId: $id) {
      id nodeId nodeName epoch thread counter sha256 receivedAt reason sizeBytes appliedInPart
      settledAt settledNote settledBy
      content {
        blocks damagedBlocks sealed records hoursLeftOut
        hours { tenant tenantId tenantName hour records requests }
      }
    }
  }
`);

const CreateQuarantinedSegmentDownloadDocument = graphql(`
  mutation CreateQuarantinedSegmentDownload($input: CreateQuarantinedSegmentDownloadInput!) {
    createQuarantinedSegmentDownload(input: $input) { url userErrors { code message param } }
  }
`);

type Content = NonNullable<NonNullable<QuarantinedSegmentQuery["quarantinedSegment"]>["content"]>;

const route = getRouteApi("/installation/operator/quarantined-segments/$segment");

/** One segment: why it was set aside, what it says, and what came of it. */
export function QuarantinedSegmentPage() {
  const id = route.useParams().segment;
  const answer = useQuery(query(QuarantinedSegmentDocument, { id }));
  const [settling, setSettling] = useState(false);
  return (
    <Loaded query={answer} lines={8} whole>
      {({ quarantinedSegment: segment }) =>
        segment ? (
          <Page
            title={`Segment ${count(segment.counter)}`}
            crumbs={[{ label: "Quarantine", to: paths.quarantine() }]}
            badge={<QuarantineState settledAt={segment.settledAt} />}
            actions={
              <>
                <DownloadButton
                  ask={async () => {
                    const input = { quarantinedSegmentId: id };
                    const answer = await request(CreateQuarantinedSegmentDownloadDocument, { input });
                    return answer.createQuarantinedSegmentDownload;
                  }}
                >
                  Download
                </DownloadButton>
                {!segment.settledAt && (
                  <Button look="primary" onClick={() => setSettling(true)}>
                    Settle
                  </Button>
                )}
              </>
            }
          >
            <Panel
              title="Set aside"
              note="Nothing of it will be put into the ledger: a part may be there already."
            >
              <Facts>
                <Fact name="Why">
                  <span className="wrap-anywhere text-bad">{segment.reason}</span>
                </Fact>
                <Fact name="In the ledger">{counts(segment.appliedInPart)}</Fact>
                <Fact name="Received">{minute(segment.receivedAt)}</Fact>
                <Fact name="Node">
                  <Link
                    {...paths.node(segment.nodeId)}
                    className="wrap-anywhere hover:text-accent hover:underline"
                  >
                    {segment.nodeName || segment.nodeId}
                  </Link>
                </Fact>
                <Fact name="Epoch">
                  <CopyText text={segment.epoch} what="epoch" />
                </Fact>
                <Fact name="Thread">{segment.thread}</Fact>
                <Fact name="Size">{bytes(segment.sizeBytes)}</Fact>
                <Fact name="SHA-256">
                  <CopyText text={segment.sha256} what="hash" />
                </Fact>
              </Facts>
            </Panel>
            {segment.settledAt && (
              <Panel title="Settled" note="It is kept for 90 days after.">
                <Facts>
                  <Fact name="What came of it">
                    <span className="wrap-anywhere whitespace-pre-line">{segment.settledNote}</span>
                  </Fact>
                  <Fact name="By">{segment.settledBy ?? "a former operator"}</Fact>
                  <Fact name="When">{minute(segment.settledAt)}</Fact>
                </Facts>
              </Panel>
            )}
            <Panel title="What it says" note="As the node wrote it. Nothing of it is believed." flush>
              {segment.content ? (
                <Says content={segment.content} />
              ) : (
                <Empty title="Nothing can be read">
                  Download it, and look at it with <code>tollgate inspect-segment</code>.
                </Empty>
              )}
            </Panel>
            {settling && (
              <Dialog title="Settle the segment" onClose={() => setSettling(false)}>
                <QuarantinedSegmentSettleForm id={segment.id} onDone={() => setSettling(false)} />
              </Dialog>
            )}
          </Page>
        ) : (
          <Missing noun="segment" />
        )
      }
    </Loaded>
  );
}

function Says({ content }: { content: Content }) {
  const { blocks, damagedBlocks, sealed, records, hours, hoursLeftOut } = content;
  return (
    <>
      <p className="px-4 py-3 text-muted">
        {count(records)} records in {count(blocks)} blocks, of which {count(damagedBlocks)} are damaged.{" "}
        {sealed ? "The node finished it." : "The node never finished it."}
        {hoursLeftOut > 0 && ` Of its hours ${count(hoursLeftOut)} more are not listed.`}
      </p>
      {hours.length > 0 && (
        <DataTable
          caption="Hours"
          rows={hours}
          rowKey={({ tenant, hour }) => JSON.stringify([tenant, hour])}
          columns={[
            {
              header: "Tenant",
              cell: ({ tenant, tenantId, tenantName }) =>
                tenantId ? (
                  <Link
                    {...paths.tenant(tenantId)}
                    className="block max-w-64 truncate font-medium hover:text-accent hover:underline"
                    title={tenant}
                  >
                    {tenantName}
                  </Link>
                ) : (
                  <span className="block max-w-64 truncate" title={tenant}>
                    {tenant || "none"} <span className="text-muted">(unknown)</span>
                  </span>
                ),
            },
            {
              header: "Hour",
              cell: ({ hour }) =>
                hour ? (
                  <span className="whitespace-nowrap">{minute(hour)}</span>
                ) : (
                  <span className="text-bad">cannot be</span>
                ),
            },
            { header: "Records", numeric: true, cell: ({ records }) => count(records) },
            { header: "Requests", numeric: true, cell: ({ requests }) => count(requests) },
          ]}
        />
      )}
    </>
  );
}
