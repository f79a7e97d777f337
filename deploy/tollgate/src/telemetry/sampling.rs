//! Which traces are kept: the samplers of OpenTelemetry's specification, and what a node decides by the rules of a
//! stage.

use anyhow::{Context, Result, bail};
use data_plane::{Head, KEPT_FOR};
use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context as TraceContext, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    ParentBasedSampler, Sampler, SamplingDecision, SamplingResult, ShouldSample, Span, SpanData,
    SpanProcessor,
};
use std::time::Duration;

/// The share of traces begun here that are kept, unless the environment says another.
const SAMPLED: f64 = 0.01;
/// In `tracestate`: the caller began the trace and leaves it to us whether it is kept. Our console does.
const UNDECIDED: (&str, &str) = ("tollgate", "undecided");

#[derive(Debug, PartialEq, Clone, Copy)]
pub(super) struct Sampling {
    /// Of traces that begin here.
    kept: f64,
    /// Whether a caller's decision is followed.
    pub(super) parent_based: bool,
}

impl Sampling {
    /// By `OTEL_TRACES_SAMPLER` and its argument.
    pub(super) fn read(sampler: Option<&str>, argument: Option<&str>) -> Result<Self> {
        let sampler = sampler.unwrap_or("parentbased_traceidratio");
        let (root, parent_based) = match sampler.strip_prefix("parentbased_") {
            Some(root) => (root, true),
            None => (sampler, false),
        };
        let kept = match (root, argument) {
            ("always_on", _) => 1.0,
            ("always_off", _) => 0.0,
            ("traceidratio", None) => SAMPLED,
            ("traceidratio", Some(ratio)) => ratio
                .parse()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .context("OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1")?,
            _ => bail!(
                "OTEL_TRACES_SAMPLER can be always_on, always_off or traceidratio, each also with \
                 parentbased_ before it, not `{sampler}`"
            ),
        };
        Ok(Self { kept, parent_based })
    }

    pub(super) fn sampler(self) -> Box<dyn ShouldSample> {
        // Its bounds are exact: 1 keeps every trace, 0 none.
        let root = Sampler::TraceIdRatioBased(self.kept);
        if !self.parent_based {
            return root.into();
        }
        ParentBasedSampler::new(root.clone()).with_remote_parent_not_sampled(Undecided(root)).into()
    }
}

/// Decides for callers that did not.
#[derive(Debug, Clone)]
struct Undecided(Sampler);

impl ShouldSample for Undecided {
    fn should_sample(
        &self,
        parent: Option<&TraceContext>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let state = parent.map(|parent| parent.span().span_context().trace_state().clone());
        let state = state.unwrap_or_default();
        if state.get(UNDECIDED.0) == Some(UNDECIDED.1) {
            return self.0.should_sample(None, trace, name, kind, attributes, links);
        }
        SamplingResult {
            decision: SamplingDecision::Drop,
            attributes: Vec::new(),
            trace_state: state,
        }
    }
}

/// Does what a node decided by the rules of a stage, and asks the sampler within where it did not.
#[derive(Debug, Clone)]
pub(super) struct Ruled(pub(super) Box<dyn ShouldSample>);

impl ShouldSample for Ruled {
    fn should_sample(
        &self,
        parent: Option<&TraceContext>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let Some((parent, head)) = parent.and_then(|it| Some((it, *it.get::<Head>()?))) else {
            return self.0.should_sample(parent, trace, name, kind, attributes, links);
        };
        let decision = match head {
            Head::Keep => SamplingDecision::RecordAndSample,
            Head::Watch(_) => SamplingDecision::RecordOnly,
            Head::Drop => SamplingDecision::Drop,
        };
        let trace_state = parent.span().span_context().trace_state().clone();
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}

/// Passes on what was sampled, and of what was only recorded the spans that say what they are kept for.
#[derive(Debug)]
pub(super) struct Kept<P>(pub(super) P);

impl<P: SpanProcessor> SpanProcessor for Kept<P> {
    fn on_start(&self, span: &mut Span, context: &TraceContext) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        let it = &span.span_context;
        if !it.is_sampled() {
            if !span.attributes.iter().any(|attribute| attribute.key.as_str() == KEPT_FOR) {
                return;
            }
            let flags = it.trace_flags().with_sampled(true);
            let (trace, id, state) = (it.trace_id(), it.span_id(), it.trace_state().clone());
            span.span_context = SpanContext::new(trace, id, flags, it.is_remote(), state);
        }
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceState};

    fn keeps(sampling: Sampling, flags: Option<TraceFlags>, state: &[(&str, &str)]) -> bool {
        let trace = TraceId::from(u128::MAX);
        let state = TraceState::from_key_value(state.iter().copied()).unwrap();
        let parent = flags.map(|flags| {
            let parent = SpanContext::new(trace, SpanId::from(1), flags, true, state);
            TraceContext::new().with_remote_span_context(parent)
        });
        let told = sampling.sampler().should_sample(
            parent.as_ref(),
            trace,
            "request",
            &SpanKind::Server,
            &[],
            &[],
        );
        told.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn one_trace_in_a_hundred_is_kept_unless_another_share_is_asked_for() {
        let kept = |sampler, argument| Sampling::read(sampler, argument).unwrap().kept;
        assert!((kept(None, None) - 0.01).abs() < f64::EPSILON);
        assert!((kept(None, Some("0.5")) - 0.5).abs() < f64::EPSILON);
        assert!((kept(Some("traceidratio"), None) - 0.01).abs() < f64::EPSILON);
        assert!((kept(Some("parentbased_always_on"), Some("0.5")) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_callers_decision_is_followed_and_one_that_leaves_it_to_us_gets_ours() {
        let always = Sampling::read(Some("parentbased_always_on"), None).unwrap();
        let never = Sampling::read(Some("parentbased_always_off"), None).unwrap();
        let (no, yes) = (Some(TraceFlags::default()), Some(TraceFlags::SAMPLED));
        assert!(keeps(always, None, &[]) && !keeps(never, None, &[]));
        assert!(keeps(never, yes, &[]) && !keeps(always, no, &[]));
        assert!(keeps(always, no, &[UNDECIDED]) && !keeps(never, no, &[UNDECIDED]));
        assert!(!keeps(always, no, &[("other", "undecided")]));
    }

    #[test]
    fn what_a_nodes_rules_decided_goes_before_the_sampler() {
        use SamplingDecision::{Drop, RecordAndSample, RecordOnly};

        let decides = |sampler: Sampler, head: Option<Head>| {
            let context = TraceContext::new();
            let context = head.map_or(context.clone(), |head| context.with_value(head));
            let (trace, kind) = (TraceId::from(1), SpanKind::Server);
            let ruled = Ruled(sampler.into());
            ruled.should_sample(Some(&context), trace, "request", &kind, &[], &[]).decision
        };
        assert_eq!(decides(Sampler::AlwaysOn, None), RecordAndSample);
        assert_eq!(decides(Sampler::AlwaysOff, None), Drop);
        assert_eq!(decides(Sampler::AlwaysOff, Some(Head::Keep)), RecordAndSample);
        let watch = Head::Watch(data_plane::Tail::default());
        assert_eq!(decides(Sampler::AlwaysOn, Some(watch)), RecordOnly);
        assert_eq!(decides(Sampler::AlwaysOn, Some(Head::Drop)), Drop);
    }
}
