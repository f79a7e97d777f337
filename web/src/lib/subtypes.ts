/** What of a service a route may ask for as AWS's HTTP APIs do, and by which parameters: those with * must be given. */
export const SUBTYPES: Record<string, readonly string[]> = {
  "AppConfig-GetConfiguration": [
    "Application*",
    "Environment*",
    "Configuration*",
    "ClientId*",
    "ClientConfigurationVersion",
    "Region*",
  ],
  "EventBridge-PutEvents": [
    "Detail*",
    "DetailType*",
    "Source*",
    "Time",
    "EventBusName",
    "Resources",
    "TraceHeader",
    "Region*",
  ],
  "Kinesis-PutRecord": [
    "StreamName*",
    "Data*",
    "PartitionKey*",
    "SequenceNumberForOrdering",
    "ExplicitHashKey",
    "Region*",
  ],
  "SQS-DeleteMessage": ["QueueUrl*", "ReceiptHandle*", "Region*"],
  "SQS-PurgeQueue": ["QueueUrl*", "Region*"],
  "SQS-ReceiveMessage": [
    "QueueUrl*",
    "AttributeNames",
    "MaxNumberOfMessages",
    "MessageAttributeNames",
    "ReceiveRequestAttemptId",
    "VisibilityTimeout",
    "WaitTimeSeconds",
    "Region*",
  ],
  "SQS-SendMessage": [
    "QueueUrl*",
    "MessageBody*",
    "DelaySeconds",
    "MessageAttributes",
    "MessageDeduplicationId",
    "MessageGroupId",
    "MessageSystemAttributes",
    "Region*",
  ],
  "StepFunctions-StartExecution": ["StateMachineArn*", "Name", "Input", "Region*"],
  "StepFunctions-StartSyncExecution": ["StateMachineArn*", "Name", "Input", "Region*"],
  "StepFunctions-StopExecution": ["ExecutionArn*", "Cause", "Error", "Region*"],
};

export type SubtypeParameter = { name: string; required: boolean };

/** Its parameters, in the order in which they are asked for; none where nobody knows the subtype. */
export const parametersOf = (subtype: string): SubtypeParameter[] =>
  (SUBTYPES[subtype] ?? []).map((text) => ({ name: text.replace("*", ""), required: text.endsWith("*") }));
