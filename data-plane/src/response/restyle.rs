//! A refusal as its tenant wants it to look: an Api's gateway responses. A type's own comes first, then the default of its
//! class, then what the gateway says by itself.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, HOST, USER_AGENT},
};
use plan::{
    accept,
    gateway_response::{
        Context, GatewayResponse as Style, HeaderText, ResponseType, Text, Variable,
    },
};

use crate::{
    dialect::Dialect, exchange::Exchange, gateway_response::Kind, snapshot::Snapshot, variables,
};

/// Of one value so many bytes stand in a header; a longer one leaves it out.
const HEADER_BYTES_MAX: usize = 4096;

/// The gateway responses of an Api that has any.
pub(crate) struct Restyled {
    /// By [`ResponseType::index`].
    styles: [Option<Style>; ResponseType::ALL.len()],
    /// What of a request's fields they tell. A call's fields go to its backend, so these are kept.
    fields: Box<[HeaderName]>,
}

/// What of them holds for one refusal.
pub(super) struct Chosen<'a> {
    pub(super) response_type: ResponseType,
    pub(super) status: Option<StatusCode>,
    headers: &'a [(HeaderName, HeaderText)],
    bodies: &'a [(HeaderValue, Text)],
}

/// What a refusal says of itself.
pub(super) struct Told<'a> {
    pub(super) response_type: ResponseType,
    /// `None`: AWS's dialects say nothing of such.
    pub(super) message: Option<&'a str>,
}

impl Restyled {
    /// `None` where there is none.
    pub(crate) fn new(styles: Vec<(ResponseType, Style)>) -> Option<Box<Self>> {
        if styles.is_empty() {
            return None;
        }
        let mut by_type = [const { None }; ResponseType::ALL.len()];
        let mut fields = Vec::new();
        for (kind, style) in styles {
            if style.bodies.len() > 1 {
                fields.push(ACCEPT);
            }
            fields.extend(style.variables().filter_map(field));
            by_type[kind.index()] = Some(style);
        }
        fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        Some(Box::new(Self { styles: by_type, fields: fields.into() }))
    }

    /// Whether they tell what a stage calls by this name.
    pub(crate) fn stage_variables(&self) -> impl Iterator<Item = &str> {
        let variables = self.styles.iter().flatten().flat_map(Style::variables);
        variables.filter_map(|variable| match variable {
            Variable::StageVariable(name) => Some(&**name),
            _ => None,
        })
    }

    fn of(&self, kind: ResponseType) -> Option<&Style> {
        self.styles[kind.index()].as_ref()
    }

    /// What holds for a refusal that has this status without them.
    fn choose(&self, dialect: &Dialect, kind: Kind, status: u16) -> Option<Chosen<'_>> {
        let class = match status {
            400..=499 => ResponseType::Default4xx,
            500..=599 => ResponseType::Default5xx,
            _ => return None, // leads elsewhere
        };
        let own = (dialect.response_type)(kind);
        let response_type = own.unwrap_or(class);
        let default = self.of(class);
        let fixed = own.is_some_and(|own| dialect.fixed_responses.contains(&own));
        let own = own.and_then(|own| self.of(own)).filter(|_| !fixed);
        let style = own.or(default)?;
        let status = own
            .and_then(|own| own.status)
            .or_else(|| default.and_then(|default| default.status))
            .filter(|_| !fixed);
        Some(Chosen {
            response_type,
            status: status.and_then(|status| StatusCode::from_u16(status).ok()),
            headers: &style.headers,
            bodies: if fixed { &[] } else { &style.bodies },
        })
    }
}

/// The field of a request that a variable tells.
fn field(variable: &Variable) -> Option<HeaderName> {
    match variable {
        Variable::Header(name) | Variable::MultiValueHeader(name) => {
            HeaderName::try_from(&**name).ok()
        }
        Variable::Context(Context::DomainName | Context::DomainPrefix) => Some(HOST),
        Variable::Context(Context::UserAgent) => Some(USER_AGENT),
        _ => None,
    }
}

/// Keeps what refusals tell of a call's fields, which its backend is about to get.
pub(crate) fn keep_fields(exchange: &mut Exchange) {
    let Some(deployment) = exchange.deployment() else { return };
    let Some(restyled) = deployment.restyled.as_deref().filter(|it| !it.fields.is_empty()) else {
        return;
    };
    let mut kept = HeaderMap::new();
    for name in &restyled.fields {
        for value in exchange.head.headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    exchange.kept_fields = Some(Box::new(kept));
}

/// What holds for a refusal; `None`: what the gateway says by itself. Who is suspended, or takes no calls at this address,
/// says nothing to anybody.
pub(super) fn chosen<'a>(
    snapshot: &Snapshot,
    exchange: &'a Exchange,
    kind: Kind,
    status: u16,
) -> Option<Chosen<'a>> {
    let deployment = exchange.deployment()?;
    let restyled = deployment.restyled.as_deref()?;
    let tenant = snapshot.tenant(&deployment.tenant_id)?;
    if tenant.suspended || deployment.disable_execute_api_endpoint {
        return None;
    }
    restyled.choose(deployment.dialect, kind, status)
}

impl Chosen<'_> {
    /// The body that the caller likes best, with its type; `None`: the gateway's own.
    pub(super) fn body(
        &self,
        exchange: &Exchange,
        told: &Told<'_>,
    ) -> Option<(HeaderValue, String)> {
        let position = match self.bodies {
            [] => return None,
            [_] => 0,
            bodies => {
                let wanted = fields(exchange).get_all(ACCEPT).into_iter();
                let wanted = wanted.filter_map(|value| value.to_str().ok());
                let types = || bodies.iter().filter_map(|(name, _)| name.to_str().ok());
                let json = || types().position(|name| accept::essence(name) == "application/json");
                accept::best(wanted, types()).or_else(json).unwrap_or(0)
            }
        };
        let (name, text) = self.bodies.get(position)?;
        Some((name.clone(), text.fill(|variable| value(variable, exchange, told))))
    }

    /// Writes the headers; what is no value of one is left out.
    pub(super) fn write_headers(&self, out: &mut HeaderMap, exchange: &Exchange, told: &Told<'_>) {
        for (name, text) in self.headers {
            let value = match text {
                HeaderText::Literal(value) => Some(value.clone()),
                HeaderText::Of(variable) => value(variable, exchange, told)
                    .filter(|text| text.len() <= HEADER_BYTES_MAX)
                    .and_then(|text| match variable {
                        Variable::Context(Context::ErrorMessageString) => {
                            let quoted = serde_json::Value::from(&*text).to_string();
                            HeaderValue::from_str(&quoted).ok()
                        }
                        _ => HeaderValue::from_str(&text).ok(),
                    }),
            };
            if let Some(value) = value {
                out.insert(name, value);
            }
        }
    }
}

/// The request's fields, as far as anything tells them.
fn fields(exchange: &Exchange) -> &HeaderMap {
    exchange.kept_fields.as_deref().unwrap_or(&exchange.head.headers)
}

/// What a refusal tells of itself, and else of its call.
fn value<'a>(variable: &Variable, exchange: &'a Exchange, told: &Told<'a>) -> Option<Cow<'a, str>> {
    match variable {
        Variable::Context(Context::ErrorMessage | Context::ErrorMessageString) => {
            told.message.map(Cow::Borrowed)
        }
        Variable::Context(Context::ErrorResponseType) => Some(told.response_type.as_str().into()),
        _ => variables::value(variable, exchange, fields(exchange)),
    }
}

/// Whether an answer of this status has a body, and so a type.
pub(super) fn has_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}
